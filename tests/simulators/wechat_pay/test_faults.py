import pytest

from simulators.wechat_pay.faults import Faults


def test_all_switches_are_off_at_first():
    faults = Faults()
    assert (faults.retry_scale, faults.partial_refund_gap, faults.error_code) == (1.0, 60.0, "SYSTEM_ERROR")
    others = faults.document()
    for name in ("retry_scale", "partial_refund_gap", "error_code"):
        del others[name]
    assert not any(others.values())


def test_a_change_leaves_the_others():
    faults = Faults().changed({"retry_scale": 0, "forge_signature": True}).changed({"wrong_amount": -100})
    assert (faults.retry_scale, faults.forge_signature, faults.wrong_amount) == (0, True, -100)


@pytest.mark.parametrize(
    "wrong",
    [
        {"unknown": 1},
        {"hang_calls": -1},
        {"hang_calls": 1.5},
        {"hang_calls": True},
        {"forge_signature": 1},
        {"retry_scale": "0"},
        {"retry_scale": -1},
        {"error_code": 500},
        {"notify_duplicates": None},
    ],
)
def test_an_unknown_switch_or_a_value_of_another_kind_is_refused(wrong):
    with pytest.raises(ValueError):
        Faults().changed(wrong)
