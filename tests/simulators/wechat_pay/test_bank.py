from dataclasses import replace

import pytest

from simulators.wechat_pay.bank import Bank
from simulators.wechat_pay.errors import Refused
from simulators.wechat_pay.faults import Faults
from simulators.wechat_pay.fields import OrderFields, RefundFields
from simulators.wechat_pay.state import State

ORDER = OrderFields("ORDER1", "wx1", "图文咨询", "", 5000, "o1", "http://localhost/pay", 10_000.0)
REFUND = RefundFields("ORDER1", None, "REFUND1", 2000, 5000, "", "http://localhost/refund")


class Counter:
    """The bank over a state of its own, at a settable time."""

    def __init__(self, folder, keys) -> None:
        self.time, self.woken = 1000.0, 0
        self.state = State(folder / "state.sqlite3")
        self.bank = Bank(keys, self.state, lambda: self.time, self._changed)

    def _changed(self) -> None:
        self.woken += 1

    def events(self) -> list[str]:
        return [event.event_type for event in self.state.notifications()]

    def held(self) -> int:
        return self.bank.ledger()["ORDER1"]["held"]


@pytest.fixture
def counter(tmp_path, keys):
    counter = Counter(tmp_path, keys)
    counter.bank.place(ORDER)
    yield counter
    counter.state.close()


@pytest.fixture
def bank(counter) -> Bank:
    return counter.bank


def refused(code):
    return pytest.raises(Refused, match=code)


# --- orders


def test_the_first_request_decides(counter, bank):
    first = bank.find("ORDER1")
    assert bank.place(replace(ORDER, time_expire=99_000.0, notify_url="http://localhost/other")) == first.prepay_id
    assert bank.find("ORDER1") == first
    for change in ({"total": 1}, {"openid": "o2"}, {"description": "x"}, {"appid": "wx2"}, {"attach": "x"}):
        with refused("INVALID_REQUEST"):
            bank.place(replace(ORDER, **change))
    assert bank.find("ORDER1") == first


def test_paying_moves_the_money_once_and_tells_it_once(counter, bank):
    bank.pay("ORDER1", "o1")
    with refused("ORDERPAID"):
        bank.pay("ORDER1")
    assert (counter.events(), counter.held(), counter.woken) == (["TRANSACTION.SUCCESS"], 5000, 1)


def test_somebody_else_cannot_pay(counter, bank):
    with refused("OPENID_MISMATCH"):
        bank.pay("ORDER1", "o2")
    assert (bank.find("ORDER1").state, counter.events(), counter.held()) == ("NOTPAY", [], 0)


def test_a_refused_payment_may_be_tried_again(counter, bank):
    assert bank.fail("ORDER1").state == "PAYERROR"
    assert counter.events() == []
    assert bank.pay("ORDER1").state == "SUCCESS"


def test_a_closed_order_is_closed_for_payment_and_reopening(counter, bank):
    bank.close("ORDER1")
    bank.close("ORDER1")
    with refused("ORDER_CLOSED"):
        bank.pay("ORDER1")
    with refused("ORDER_CLOSED"):
        bank.place(ORDER)
    assert counter.held() == 0


def test_a_paid_order_is_neither_closed_nor_opened_again(counter, bank):
    bank.pay("ORDER1")
    for attempt in (lambda: bank.close("ORDER1"), lambda: bank.place(ORDER), lambda: bank.fail("ORDER1")):
        with refused("ORDERPAID"):
            attempt()
    assert counter.held() == 5000


def test_an_order_past_its_time_is_closed(counter, bank):
    counter.time = 9_999.0
    assert bank.find("ORDER1").state == "NOTPAY"
    counter.time = 10_000.0
    assert bank.find("ORDER1").state == "CLOSED"
    with refused("ORDER_CLOSED"):
        bank.pay("ORDER1")


def test_an_unknown_order_does_not_exist(bank):
    assert bank.find("ORDER2") is None
    for attempt in (bank.require, bank.pay, bank.close):
        with refused("ORDER_NOT_EXIST"):
            attempt("ORDER2")


# --- refunds


def test_a_refund_is_processed_then_settled_and_told(counter, bank):
    bank.pay("ORDER1")
    assert bank.request_refund(REFUND).status == "PROCESSING"
    assert (counter.held(), bank.find("ORDER1").state) == (5000, "REFUND")
    bank.settle_due()
    assert (bank.find_refund("REFUND1").status, counter.held()) == ("SUCCESS", 3000)
    assert counter.events() == ["TRANSACTION.SUCCESS", "REFUND.SUCCESS"]


def test_a_refund_may_be_asked_by_the_gateways_number(counter, bank):
    number = bank.pay("ORDER1").transaction_id
    asked = bank.request_refund(replace(REFUND, out_trade_no=None, transaction_id=number))
    assert bank.request_refund(REFUND) == asked


def test_a_refund_without_an_address_is_not_told(counter, bank):
    bank.pay("ORDER1")
    bank.request_refund(replace(REFUND, notify_url=None))
    bank.settle_due()
    assert counter.events() == ["TRANSACTION.SUCCESS"]


def test_a_repeated_refund_is_the_same_even_a_year_later(counter, bank):
    bank.pay("ORDER1")
    first = bank.request_refund(REFUND)
    counter.time += 400 * 86400
    assert bank.request_refund(REFUND) == first
    for change in ({"amount": 1}, {"total": 4000}):
        with refused("INVALID_REQUEST"):
            bank.request_refund(replace(REFUND, **change))


def test_no_more_is_given_back_than_was_paid(counter, bank):
    bank.pay("ORDER1")
    bank.request_refund(replace(REFUND, amount=4000))
    counter.time += 60
    with refused("INVALID_REQUEST"):
        bank.request_refund(replace(REFUND, out_refund_no="REFUND2", amount=1001))
    bank.request_refund(replace(REFUND, out_refund_no="REFUND2", amount=1000))
    bank.settle_due()
    assert counter.held() == 0


def test_a_closed_refund_frees_its_amount(counter, bank):
    bank.pay("ORDER1")
    bank.request_refund(replace(REFUND, amount=5000))
    assert bank.settle("REFUND1", "CLOSED").status == "CLOSED"
    bank.request_refund(replace(REFUND, out_refund_no="REFUND2", amount=5000))
    bank.settle_due()
    assert counter.held() == 0


def test_partial_refunds_lie_a_minute_apart(counter, bank):
    bank.pay("ORDER1")
    bank.request_refund(REFUND)
    counter.time += 59.9
    with refused("FREQUENCY_LIMITED"):
        bank.request_refund(replace(REFUND, out_refund_no="REFUND2"))
    counter.time += 0.1
    assert bank.request_refund(replace(REFUND, out_refund_no="REFUND2")).status == "PROCESSING"


def test_fifty_refunds_are_the_most(counter, bank):
    counter.state.set_faults(Faults(partial_refund_gap=0.0))
    bank.pay("ORDER1")
    for number in range(50):
        bank.request_refund(replace(REFUND, out_refund_no=f"R{number}", amount=1))
    with refused("INVALID_REQUEST"):
        bank.request_refund(replace(REFUND, out_refund_no="R50", amount=1))


@pytest.mark.parametrize("change", [{"total": 4999}, {"amount": 5001}])
def test_amounts_that_do_not_fit_the_order_are_refused(counter, bank, change):
    bank.pay("ORDER1")
    with refused("INVALID_REQUEST"):
        bank.request_refund(replace(REFUND, **change))
    assert (counter.held(), bank.find("ORDER1").state) == (5000, "SUCCESS")


def test_an_old_an_unpaid_or_an_unknown_order_is_not_refunded(counter, bank):
    with refused("INVALID_REQUEST"):
        bank.request_refund(REFUND)
    with refused("RESOURCE_NOT_EXISTS"):
        bank.request_refund(replace(REFUND, out_trade_no="ORDER2"))
    bank.pay("ORDER1")
    counter.time += 365 * 86400 + 1
    with refused("INVALID_REQUEST"):
        bank.request_refund(REFUND)
    assert counter.held() == 5000


def test_a_held_refund_waits_for_its_end(counter, bank):
    counter.state.set_faults(Faults(hold_refunds=True))
    bank.pay("ORDER1")
    bank.request_refund(REFUND)
    counter.time += 86400
    bank.settle_due()
    assert bank.find_refund("REFUND1").status == "PROCESSING"
    assert bank.settle("REFUND1").status == "SUCCESS"
    with refused("INVALID_REQUEST"):
        bank.settle("REFUND1")
    assert counter.events() == ["TRANSACTION.SUCCESS", "REFUND.SUCCESS"]


def test_a_delayed_refund_ends_at_its_time(counter, bank):
    counter.state.set_faults(Faults(refund_delay=30.0))
    bank.pay("ORDER1")
    bank.request_refund(REFUND)
    bank.settle_due()
    assert bank.find_refund("REFUND1").status == "PROCESSING"
    counter.time += 30
    bank.settle_due()
    assert bank.find_refund("REFUND1").status == "SUCCESS"


def test_an_abnormal_refund_keeps_the_money_until_it_goes_to_another_account(counter, bank):
    counter.state.set_faults(Faults(abnormal_refunds=True))
    bank.pay("ORDER1")
    refund_id = bank.request_refund(REFUND).refund_id
    bank.settle_due()
    assert (bank.find_refund("REFUND1").status, counter.held()) == ("ABNORMAL", 5000)
    with refused("PARAM_ERROR"):
        bank.apply_abnormal(refund_id, "REFUND1", "SOMEWHERE")
    with refused("RESOURCE_NOT_EXISTS"):
        bank.apply_abnormal("5030", "REFUND1", "MERCHANT_BANK_CARD")
    assert bank.apply_abnormal(refund_id, "REFUND1", "MERCHANT_BANK_CARD").status == "PROCESSING"
    bank.settle_due()
    assert (bank.find_refund("REFUND1").status, counter.held()) == ("SUCCESS", 3000)
    with refused("INVALID_REQUEST"):
        bank.apply_abnormal(refund_id, "REFUND1", "MERCHANT_BANK_CARD")
    assert counter.events() == ["TRANSACTION.SUCCESS", "REFUND.ABNORMAL", "REFUND.SUCCESS"]


# --- what is told


def test_switches_shape_what_is_told(counter, bank):
    counter.state.set_faults(Faults(signtest_probe=True, notify_duplicates=2, notify_delay=7.0))
    bank.pay("ORDER1")
    told = counter.state.notifications()
    assert [event.kind for event in told] == ["probe", "event", "event", "event"]
    assert len({event.event_id for event in told}) == 1
    assert {event.next_at for event in told} == {1007.0}


def test_a_dropped_event_is_kept_but_never_due(counter, bank):
    counter.state.set_faults(Faults(drop_notifications=True))
    bank.pay("ORDER1")
    [event] = counter.state.notifications()
    assert (event.state, event.next_at, counter.held()) == ("dropped", None, 5000)
