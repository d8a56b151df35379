import asyncio
from datetime import timedelta

import pytest

from core.orders import service as orders
from core.visits import jobs
from im.entries import key_of


async def say(case, *, hours_ago: float, number: int = 1) -> None:
    """A word of the patient's in the chat, as the journal stores it."""
    ctx = case.house.ctx
    await ctx.journal.post(
        key=key_of(case.patient.id, "device", case.id, str(number)),
        conversation=case.id,
        account=case.patient.id,
        role="patient",
        kind="text",
        body={"text": "还在吗"},
        to=[case.doctor.id],
    )
    at = ctx.clock.now() - timedelta(hours=hours_ago)
    await ctx.store.db["messages"].update_one(
        {"conversation": case.id, "account": case.patient.id}, {"$set": {"at": at}}
    )


@pytest.mark.feature("P1.6")
@pytest.mark.gen_test(timeout=30)
async def test_a_paid_order_submits_its_visit_once_however_often_its_duty_runs(house):
    case = await house.waiting()
    for _ in range(2):
        await jobs.submit_paid(house.ctx, await case.order())
    assert [one["act"] for one in (await case.visit())["history"]] == ["create", "submit"]
    assert await case.standing() == ("waiting", "paid")


@pytest.mark.gen_test(timeout=30)
async def test_two_workers_that_submit_at_once_submit_once(house):
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)
    order = await case.order()
    await asyncio.gather(case.word(), case.word(), *(jobs.submit_paid(house.ctx, order) for _ in range(2)))
    await house.rest()
    assert [one["act"] for one in (await case.visit())["history"]].count("submit") == 1
    assert [one.get("event") for one in await case.said()] == ["visit.submit"]


@pytest.mark.feature("P1.6")
@pytest.mark.gen_test(timeout=30)
async def test_a_process_that_dies_after_the_payment_leaves_the_submission_to_the_worker(house, monkeypatch):
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)

    async def die(collection, id_):
        return None

    with monkeypatch.context() as dying:
        dying.setattr(house.ctx.duties, "run_now", die)
        await case.word()
    assert await case.standing() == ("pending_payment", "paid")
    await case.word()
    assert await case.standing() == ("pending_payment", "paid")
    await house.rest()
    assert await case.standing() == ("waiting", "paid")
    assert [one.get("event") for one in await case.said()] == ["visit.submit"]


@pytest.mark.gen_test(timeout=30)
async def test_money_for_a_visit_that_ended_before_it_came_goes_back(house):
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)
    await house.ctx.visits.note(case.id, set={"status": "expired"})
    await case.word()
    await house.rest()
    assert await case.standing() == ("expired", "refunded")
    assert (await case.order())["refund"]["reason"] == "visit_ended"


@pytest.mark.gen_test(timeout=30)
async def test_an_order_without_its_visit_is_an_error_and_not_forgotten(house):
    case = await house.submitted()
    order = {**await case.order(), "subject_id": "01NOBODY"}
    with pytest.raises(LookupError):
        await jobs.submit_paid(house.ctx, order)


@pytest.mark.feature("P1.8")
@pytest.mark.gen_test(timeout=30)
async def test_each_step_is_said_once_in_the_chat_though_its_duty_runs_twice_and_in_two_processes(house):
    case = await house.completed()
    visit = await case.visit()
    await asyncio.gather(jobs.announce(house.ctx, visit), jobs.announce(house.ctx, visit))
    await jobs.announce(house.ctx, visit)
    assert await case.said() == [
        {"event": "visit.submit", "text": "咨询已提交，请等待医生接诊"},
        {"event": "visit.accept", "text": "医生已接诊，可以开始沟通"},
        {"event": "visit.complete", "text": "本次咨询已结束"},
        {"card": "rating_request", "visit": case.id},
    ]


@pytest.mark.gen_test(timeout=30)
async def test_what_a_dead_process_did_not_say_is_said_by_the_next_in_order(house, monkeypatch):
    case = await house.waiting()

    async def die(collection, id_):
        return None

    with monkeypatch.context() as dying:
        dying.setattr(house.ctx.duties, "run_now", die)
        await case.act(case.doctor, "accept")
    assert len(await case.said()) == 1
    await case.act(case.doctor, "complete")
    assert [one.get("event", one.get("card")) for one in await case.said()] == [
        "visit.submit",
        "visit.accept",
        "visit.complete",
        "rating_request",
    ]


@pytest.mark.gen_test(timeout=30)
async def test_nothing_is_said_of_a_visit_that_was_never_submitted(house):
    case = await house.submitted()
    await case.act(case.patient, "cancel")
    await house.rest()
    assert await case.standing() == ("cancelled", "closed")
    assert await case.said() == []


# --- deadlines --------------------------------------------------------------------------------------


@pytest.mark.feature("P1.5")
@pytest.mark.gen_test(timeout=30)
async def test_before_an_unpaid_visit_expires_the_gateway_is_asked_once_more(house):
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)
    await house.pass_deadline("visits", case.id)
    await house.rest()
    visit = await case.visit()
    assert await case.standing() == ("waiting", "paid")
    assert visit["deadline_at"] > house.ctx.clock.now() + timedelta(hours=23)


@pytest.mark.gen_test(timeout=30)
async def test_with_the_gateway_away_it_expires_and_money_that_came_meanwhile_goes_back(house):
    case = await house.submitted()
    await case.open_payment()
    await house.pay(case.order_id)
    await house.faults(unavailable_calls=1_000)
    await house.pass_deadline("visits", case.id)
    assert await case.standing() == ("expired", "closed")
    await house.faults(unavailable_calls=0)
    await house.rest()
    assert await case.standing() == ("expired", "refunded")
    assert await house.ledger(case.order_id) == {"paid": 3_000, "refunded": 3_000, "held": 0}


@pytest.mark.parametrize(("status", "move"), [("waiting", "accept"), ("in_progress", "terminate")])
@pytest.mark.gen_test(timeout=30)
async def test_a_deadline_that_was_seen_before_somebody_moved_the_visit_changes_nothing(house, status, move):
    case = await (house.waiting() if status == "waiting" else house.in_progress())
    seen = await case.visit()
    moved = await case.act(case.doctor, move, reason="UNSUITABLE", advice="建议线下检查")
    await jobs.deadline(house.ctx, seen)
    await house.rest()
    visit = await case.visit()
    assert (visit["status"], visit["history"]) == (moved["status"], moved["history"])


@pytest.mark.gen_test(timeout=30)
async def test_a_deadline_and_an_accept_at_the_same_moment_have_one_winner(house):
    for _ in range(3):
        case = await house.waiting()
        answers = await asyncio.gather(
            case.act(case.doctor, "accept"), house.pass_deadline("visits", case.id), return_exceptions=True
        )
        await house.rest()
        visit, order = await case.standing()
        assert (visit, order) in (("in_progress", "paid"), ("declined", "refunded"))
        assert isinstance(answers[0], Exception) is (visit == "declined")


@pytest.mark.gen_test(timeout=30)
async def test_a_visit_completes_by_itself_after_two_days_of_silence_and_not_before(house):
    silent, spoken = await house.in_progress(), await house.in_progress()
    await say(silent, hours_ago=49)
    await say(spoken, hours_ago=47)
    for case in (silent, spoken):
        await house.pass_deadline("visits", case.id)
    ended, going_on = await silent.visit(), await spoken.visit()
    now = house.ctx.clock.now()
    assert (ended["status"], ended["reason"], ended["history"][-1]["actor"]) == ("completed", "silent", "system")
    assert going_on["status"] == "in_progress"
    assert timedelta(minutes=55) < going_on["deadline_at"] - now < timedelta(minutes=65)
    assert (await silent.said())[-1] == {"card": "rating_request", "visit": silent.id}


@pytest.mark.gen_test(timeout=30)
async def test_what_the_hospital_itself_says_does_not_break_the_silence(house):
    case = await house.in_progress()
    await house.pass_deadline("visits", case.id)
    assert (await case.visit())["status"] == "completed"


@pytest.mark.gen_test(timeout=30)
async def test_a_declined_visit_is_given_back_by_the_worker_under_its_own_name(house):
    case = await house.waiting()
    await house.pass_deadline("visits", case.id)
    await house.rest()
    last = (await case.visit())["history"][-1]
    assert (last["act"], last["actor"], last["role"], last["reason"]) == ("decline", "system", "system", "timeout")
    assert await case.standing() == ("declined", "refunded")


@pytest.mark.gen_test(timeout=30)
async def test_an_ended_visit_has_no_deadline(house):
    case = await house.completed()
    before = await case.visit()
    assert before["deadline_at"] is None
    await jobs.deadline(house.ctx, before)
    assert await case.visit() == before


@pytest.mark.gen_test(timeout=30)
async def test_settling_twice_and_while_the_payment_comes_in_gives_back_what_came(house):
    for _ in range(3):
        case = await house.submitted()
        await case.open_payment()
        await house.pay(case.order_id)
        await asyncio.gather(case.word(), case.act(case.patient, "cancel"), case.word())
        await house.rest()
        assert await case.standing() == ("cancelled", "refunded")
        await orders.settle(house.ctx, case.order_id, by=case.patient.actor, reason="again")
        assert (await house.ledger(case.order_id))["held"] == 0
