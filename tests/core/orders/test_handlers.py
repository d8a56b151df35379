import asyncio

import pytest

from core.orders import handlers, service
from core.ports import BadNotification, Unavailable
from scripts.acting import until
from tests.core.partial import caller_of

NOTIFY = ("/notify/wechat-pay", "/notify/wechat-refund")
PAY = {"channel": "wechat_jsapi"}


async def answer_of(house, caller, method, path, body=None, *, key=None):
    """Status and body."""
    answer = await house.person(caller).send(method, path, json=body, key=key)
    return answer.status_code, answer.json()


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=30)
async def test_real_notifications_move_order_and_visit_and_their_repeats_change_nothing(house):
    await house.faults(drop_notifications=False, notify_duplicates=2)
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)

    async def is_waiting():
        return await case.standing() == ("waiting", "paid")

    await until(is_waiting)
    await house.faults(hold_refunds=True)
    await case.act(case.patient, "cancel")

    async def is_in_process():
        refund = (await case.order())["refund"]
        return refund is not None and refund["state"] == "PROCESSING"

    await until(is_in_process)
    await house.settle_refund(case.order_id, "SUCCESS")

    async def is_refunded():
        return await case.standing() == ("cancelled", "refunded")

    await until(is_refunded)
    await house.rest()
    order = await case.order()
    assert [one["act"] for one in order["history"]] == ["pay", "refund", "refunded"]
    assert order["duties"] == []


@pytest.mark.parametrize("path", NOTIFY)
@pytest.mark.gen_test(timeout=30)
async def test_what_is_not_the_gateways_is_refused_in_its_own_words(house, path):
    for body in (b"", b"{}", b"not json", b"[" * 100_000, b'{"resource":{}}'):
        answer = await house.http.post(f"{house.url}/api/v1{path}", content=body)
        assert (answer.status_code, answer.json()) == (401, {"code": "FAIL", "message": "失败"})


@pytest.mark.parametrize(
    ("error", "status"), [(BadNotification("wrong amount"), 401), (Unavailable("query"), 503), (KeyError("bug"), 500)]
)
@pytest.mark.gen_test(timeout=30)
async def test_what_was_not_taken_is_answered_so_that_it_is_repeated(house, monkeypatch, error, status):
    async def fail(ctx, headers, body):
        raise error

    monkeypatch.setattr(service, "take_payment_notification", fail)
    answer = await house.http.post(f"{house.url}/api/v1/notify/wechat-pay", content=b"{}")
    assert answer.status_code == status


@pytest.mark.gen_test(timeout=30)
async def test_a_notification_that_takes_too_long_is_answered_within_the_gateways_patience(house, monkeypatch):
    async def hang(ctx, headers, body):
        await asyncio.Event().wait()

    monkeypatch.setattr(service, "take_payment_notification", hang)
    monkeypatch.setattr(handlers, "NOTIFICATION_SECONDS", 0.05)
    answer = await house.http.post(f"{house.url}/api/v1/notify/wechat-pay", content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (503, "FAIL")


def test_the_answer_comes_before_the_gateway_gives_up():
    assert handlers.NOTIFICATION_SECONDS < 5


@pytest.mark.gen_test(timeout=30)
async def test_an_order_is_shown_to_its_payer_with_its_history_and_to_nobody_else(house):
    case = await house.waiting()
    status, shown = await answer_of(house, case.patient, "GET", f"/orders/{case.order_id}")
    assert (status, shown["status"], shown["amount"], shown["visit"]) == (200, "paid", 3_000, case.id)
    assert [(one["from"], one["to"], one["act"], one["role"]) for one in shown["history"]] == [
        ("pending", "paid", "pay", "system")
    ]
    assert not {"duties", "transaction_id", "account_id", "version"} & set(shown)
    assert (await answer_of(house, caller_of("patient"), "GET", f"/orders/{case.order_id}"))[0] == 404
    assert (await answer_of(house, case.doctor, "GET", f"/orders/{case.order_id}"))[0] == 403


@pytest.mark.gen_test(timeout=30)
async def test_ones_orders_are_listed_by_status(house):
    case = await house.waiting()
    _, paid = await answer_of(house, case.patient, "GET", "/orders?status=paid")
    _, closed = await answer_of(house, case.patient, "GET", "/orders?status=closed")
    wrong, problem = await answer_of(house, case.patient, "GET", "/orders?status=free")
    assert ([one["id"] for one in paid["items"]], closed["items"]) == ([case.order_id], [])
    assert (wrong, list(problem["errors"])) == (422, ["status"])


@pytest.mark.gen_test(timeout=30)
async def test_a_payment_needs_a_key_and_a_known_channel(house):
    case = await house.submitted()
    path = f"/orders/{case.order_id}/payment"
    without, problem = await answer_of(house, case.patient, "POST", path, PAY)
    other, channel = await answer_of(house, case.patient, "POST", path, {"channel": "cash"}, key="p")
    assert (without, list(problem["errors"])) == (422, ["Idempotency-Key"])
    assert (other, list(channel["errors"])) == (422, ["channel"])
    assert (await case.order())["payment_requested_at"] is None


@pytest.mark.gen_test(timeout=30)
async def test_a_gateway_that_is_away_is_503_with_when_to_come_again(house):
    case = await house.submitted()
    await house.faults(unavailable_calls=1)
    answer = await house.person(case.patient).send("POST", f"/orders/{case.order_id}/payment", json=PAY, key="p")
    assert (answer.status_code, answer.json()["code"], int(answer.headers["Retry-After"])) == (503, "unavailable", 5)
    assert (await case.order())["status"] == "pending"
