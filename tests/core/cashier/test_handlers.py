from datetime import time

import pytest

from core.auth import ROLES
from scripts.acting import Refused
from tests.core.consulting import FEE

LIST = "/admin/reconciliation"


@pytest.mark.feature("X1.2")
@pytest.mark.gen_test(timeout=60)
async def test_the_office_compares_a_day_and_reads_it_again(counting):
    case = await counting.refunded()
    await counting.change(case, amount=FEE + 1)
    counting.next_morning()
    admin = counting.admin()
    made = await admin.post(f"{LIST}/{counting.day}")
    assert await admin.get(f"{LIST}/{counting.day}") == made
    assert (made["day"], made["version"], made["by"], made["difference_count"]) == (counting.day, 1, "office", 1)
    assert made["differences"] == [
        {
            "kind": "amount_differs",
            "order": case.order_id,
            "out_refund_no": None,
            "transaction_id": (await case.order())["transaction_id"],
            "our_amount": FEE + 1,
            "our_state": "refunded",
            "their_amount": FEE,
            "their_state": "SUCCESS",
        }
    ]
    assert made["ours"] == {"payments": 1, "paid": FEE + 1, "refunds": 1, "refunded": FEE}
    assert [run["version"] for run in made["runs"]] == [1]
    [listed] = (await admin.get(LIST))["items"]
    assert listed == {name: value for name, value in made.items() if name not in ("differences", "runs")}


@pytest.mark.gen_test(timeout=60)
async def test_compared_days_are_listed_newest_first_by_day(counting):
    counting.next_morning()
    admin = counting.admin()
    days = sorted(f"2026-{month}-15" for month in ("09", "10", "11"))
    docs = counting.ctx.store.db["reconciliations"]
    made = await admin.post(f"{LIST}/{counting.day}")
    kept = await docs.find_one({"_id": counting.day})
    await docs.insert_many([kept | {"_id": day, "day": day} for day in days])
    every = [made["day"], *reversed(days)]
    first = await admin.get(LIST, limit=2)
    second = await admin.get(LIST, limit=2, cursor=first["next_cursor"])
    assert [one["day"] for page in (first, second) for one in page["items"]] == sorted(every, reverse=True)
    assert (first["next_cursor"], second["next_cursor"]) == (sorted(every, reverse=True)[1], None)


@pytest.mark.gen_test(timeout=60)
async def test_a_bill_that_is_not_ready_is_503_and_compares_nothing(counting):
    await counting.house.waiting()
    for moment in (time(0, 1), time(9, 59)):
        counting.next_morning(moment)
        answer = await counting.admin().send("POST", f"{LIST}/{counting.day}")
        assert (answer.status_code, answer.json()["code"], "Retry-After" in answer.headers) == (
            503,
            "unavailable",
            True,
        )
    with pytest.raises(Refused) as missing:
        await counting.admin().get(f"{LIST}/{counting.day}")
    assert missing.value.code == "not_found"


@pytest.mark.gen_test(timeout=60)
async def test_what_is_no_day_is_refused(counting):
    admin = counting.admin()
    answers = [await admin.send("POST", f"{LIST}/{day}") for day in ("2026-02-30", "2020-01-01", "today", "2026-1-1")]
    assert [answer.status_code for answer in answers] == [404, 422, 404, 404]
    cursor = await admin.send("GET", f"{LIST}?cursor=x")
    assert (cursor.status_code, list(cursor.json()["errors"])) == (422, ["cursor"])
    assert (await admin.get(LIST))["items"] == []


@pytest.mark.rule("R6-3")
@pytest.mark.gen_test(timeout=60)
async def test_only_the_administrator_of_the_hospital_comes_in(counting):
    case = await counting.stopped()
    counting.next_morning()
    before = await case.order()
    calls = (
        ("GET", LIST, None),
        ("GET", f"{LIST}/{counting.day}", None),
        ("POST", f"{LIST}/{counting.day}", None),
        ("GET", "/admin/orders?refund=open", None),
        ("POST", f"/admin/orders/{case.order_id}/refund/retry", {"reason": "重试"}),
    )
    for role in sorted(set(ROLES) - {"admin"}):
        person = counting.admin(role)
        answers = [await person.send(method, path, json=body) for method, path, body in calls]
        assert {answer.status_code for answer in answers} == {403}, role
    person.token = ""
    assert (await person.send("GET", LIST)).status_code == 401
    assert await case.order() == before
    assert (await counting.admin().get(LIST))["items"] == []


@pytest.mark.feature("P1.10")
@pytest.mark.gen_test(timeout=60)
async def test_the_cashier_finds_an_abnormal_refund_and_lets_it_be_tried_again(counting):
    case = await counting.stopped()
    admin = await counting.lifted_admin()
    listed = await admin.get("/admin/orders", refund="abnormal")
    [found] = listed["items"]
    refund = (await case.order())["refund"]
    assert (found["id"], found["visit"], found["doctor"]) == (case.order_id, case.id, case.doctor.id)
    assert found["transaction_id"] == (await case.order())["transaction_id"]
    assert (found["refund"]["out_refund_no"], found["refund"]["refund_id"]) == (
        f"{case.order_id}-R",
        refund["refund_id"],
    )
    assert found["stopped"] == [{"kind": "order.refund", "attempts": 1, "error": "rejected ABNORMAL"}]
    after = await admin.post(
        f"/admin/orders/{case.order_id}/refund/retry", {"reason": "退至医院账户，现金退患者", "to": "hospital"}
    )
    await counting.house.rest()
    assert after["history"][-1]["act"] in ("refund_to_hospital", "refunded")
    assert (await case.order())["status"] == "refunded"
    assert (await admin.get("/admin/orders", refund="open"))["items"] == []


@pytest.mark.gen_test(timeout=60)
async def test_refusals_of_a_retry_name_what_is_wrong(counting):
    case = await counting.house.waiting()
    admin = await counting.lifted_admin()
    path = f"/admin/orders/{case.order_id}/refund/retry"
    for body, field in (({}, "reason"), ({"reason": " "}, "reason"), ({"reason": "x", "to": "me"}, "to")):
        answer = await admin.send("POST", path, json=body)
        assert (answer.status_code, list(answer.json()["errors"])) == (422, [field])
    paid = await admin.send("POST", path, json={"reason": "重试"})
    none = await admin.send("POST", "/admin/orders/none/refund/retry", json={"reason": "重试"})
    assert [(answer.status_code, answer.json()["code"]) for answer in (paid, none)] == [
        (409, "wrong_state"),
        (404, "not_found"),
    ]
    for wrong in ("", "?refund=all"):
        assert (await admin.send("GET", f"/admin/orders{wrong}")).status_code == 422
    assert await case.standing() == ("waiting", "paid")
