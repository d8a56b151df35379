from dataclasses import replace

import pytest

from simulators.wechat_pay.faults import Faults
from simulators.wechat_pay.state import Notification, Order, Refund, State

ORDER = Order("ORDER1", "wx1", "图文咨询", "", 5000, "o1", "http://localhost/n", 200.0, "wx-prepay", "NOTPAY", 100.0)
REFUND = Refund("REFUND1", "5030", "ORDER1", 2000, "", None, "PROCESSING", 0, 110.0, settle_at=120.0)
EVENT = Notification(
    "EV-1", "event", "TRANSACTION.SUCCESS", "transaction", "ORDER1", "支付成功", "http://localhost/n", "{}", 110.0,
    "pending", 0, 115.0,
)  # fmt: skip


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path / "state.sqlite3")
    yield state
    state.close()


def test_what_was_saved_is_there_for_a_second_reader_of_the_file(state, tmp_path):
    state.save(ORDER, REFUND, replace(EVENT))
    state.set_faults(Faults(hang_calls=2))
    second = State(tmp_path / "state.sqlite3")
    assert (second.order("ORDER1"), second.refund("REFUND1")) == (ORDER, REFUND)
    assert second.notifications() == [replace(EVENT, number=1)]
    assert second.faults() == Faults(hang_calls=2)
    second.close()


def test_an_order_is_found_by_either_number(state):
    paid = replace(ORDER, transaction_id="4200", paid_at=150.0, state="SUCCESS")
    state.save(ORDER)
    assert state.order_by_transaction("4200") is None
    state.save(paid)
    assert state.order_by_transaction("4200") == state.order("ORDER1") == paid
    assert state.orders() == [paid]


def test_refunds_of_an_order_come_oldest_first_whatever_was_saved_last(state):
    later = replace(REFUND, out_refund_no="REFUND2", refund_id="5031", created_at=111.0)
    state.save(ORDER, later, REFUND)
    assert state.refunds("ORDER1") == [REFUND, later]
    assert state.refunds("ORDER2") == []


def test_what_is_due_is_found_at_its_time(state):
    state.save(ORDER, REFUND, replace(EVENT))
    assert state.next_due([]) == 115.0
    assert state.next_due([1]) == 120.0
    assert [event.number for event in state.notifications_to_send(114.9)] == []
    assert [event.number for event in state.notifications_to_send(115.0)] == [1]
    assert state.refunds_to_settle(119.9) == []
    assert state.refunds_to_settle(120.0) == [REFUND]


def test_nothing_is_due_when_all_has_ended(state):
    state.save(ORDER, replace(REFUND, settle_at=None), replace(EVENT, next_at=None))
    assert state.next_due([]) is None


def test_a_transaction_that_fails_leaves_nothing(state):
    def half() -> None:
        with state.transaction():
            state.save(ORDER)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert state.orders() == []


def test_a_switch_counts_down_to_off(state):
    state.set_faults(Faults(hang_calls=1, error_code="NO_AUTH"))
    assert state.take("error_calls") is None
    assert state.take("hang_calls").error_code == "NO_AUTH"
    assert state.take("hang_calls") is None


def test_clearing_forgets_everything(state):
    state.save(ORDER, REFUND, replace(EVENT))
    state.set_faults(Faults(hang_calls=1))
    state.clear()
    assert (state.orders(), state.refunds("ORDER1"), state.notifications()) == ([], [], [])
    assert state.faults() == Faults()
