import pytest
from marshmallow import ValidationError

from core.cashier import schemas


def test_days_are_asked_for_by_a_day():
    assert schemas.DaysQuery().load({}) == {"limit": 20, "cursor": None}
    assert schemas.DaysQuery().load({"limit": "5", "cursor": "2026-05-03"}) == {"limit": 5, "cursor": "2026-05-03"}
    for wrong in ({"cursor": "2026-02-30"}, {"limit": "0"}, {"limit": "101"}, {"page": "1"}):
        with pytest.raises(ValidationError) as refused:
            schemas.DaysQuery().load(wrong)
        assert list(refused.value.messages) == list(wrong)


def test_a_retry_needs_a_reason_and_goes_to_the_payer_unless_told():
    assert schemas.RetryRefund().load({"reason": " 已联系患者 "}) == {"reason": "已联系患者", "to": "payer"}
    for wrong in ({"reason": ""}, {"reason": "x" * 201}, {"reason": "x", "to": "me"}):
        with pytest.raises(ValidationError):
            schemas.RetryRefund().load(wrong)


def test_refunds_are_asked_for_by_how_they_stand():
    assert schemas.RefundsQuery().load({"refund": "abnormal"})["refund"] == "abnormal"
    for wrong in ({}, {"refund": "paid"}):
        with pytest.raises(ValidationError):
            schemas.RefundsQuery().load(wrong)
