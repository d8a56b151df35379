import asyncio
import json

import pytest

from core.compliance import years_later
from core.errors import Conflict, Invalid
from core.patients import service as patients
from core.visits import service, submission


async def die(collection, id_):
    return None


@pytest.mark.gen_test(timeout=30)
async def test_a_crash_between_visit_and_order_is_mended_by_the_repeat_of_the_request(house, monkeypatch):
    patient, patient_id = await house.patient()
    form = await house.form(patient_id)
    with monkeypatch.context() as dying:
        dying.setattr(house.ctx.duties, "run_now", die)
        with pytest.raises(Conflict):
            await house.submit(patient, form, "key-1")
    (left,) = await house.ctx.visits.page("patient_account", patient.id, before=None, limit=5)
    assert await house.ctx.orders.get(left["order_id"]) is None
    again = await house.submit(patient, form, "key-1")
    order = await house.ctx.orders.get(again["order_id"])
    assert again["_id"] == left["_id"]
    assert (order["status"], order["amount"], order["subject_id"]) == ("pending", 3_000, left["_id"])
    assert order["expires_at"] == again["deadline_at"]


@pytest.mark.gen_test(timeout=30)
async def test_a_crash_between_visit_and_order_is_mended_by_the_worker(house, monkeypatch):
    patient, patient_id = await house.patient()
    with monkeypatch.context() as dying:
        dying.setattr(house.ctx.duties, "run_now", die)
        with pytest.raises(Conflict):
            await house.submit(patient, await house.form(patient_id))
    await house.rest()
    (visit,) = await house.ctx.visits.page("patient_account", patient.id, before=None, limit=5)
    assert (await house.ctx.orders.get(visit["order_id"]))["status"] == "pending"
    assert visit["duties"] == []


@pytest.mark.gen_test(timeout=30)
async def test_the_order_of_a_visit_cancelled_before_it_was_opened_can_never_be_paid(house, monkeypatch):
    patient, patient_id = await house.patient()
    with monkeypatch.context() as dying:
        dying.setattr(house.ctx.duties, "run_now", die)
        with pytest.raises(Conflict):
            await house.submit(patient, await house.form(patient_id))
        (visit,) = await house.ctx.visits.page("patient_account", patient.id, before=None, limit=5)
        await service.act(house.ctx, caller=patient, visit_id=visit["_id"], act="cancel")
    await house.rest()
    assert (await house.ctx.orders.get(visit["order_id"]))["status"] == "closed"


@pytest.mark.feature("P1.5")
@pytest.mark.gen_test(timeout=30)
async def test_the_same_request_at_the_same_moment_makes_one_visit_with_one_order(house):
    patient, patient_id = await house.patient()
    form = await house.form(patient_id)
    answers = await asyncio.gather(*(house.submit(patient, form, "key-2") for _ in range(4)), return_exceptions=True)
    visits = {one["_id"] for one in answers if not isinstance(one, Exception)}
    assert len(visits) == 1
    assert all(isinstance(one, Conflict) for one in answers if isinstance(one, Exception))
    assert len(await house.ctx.visits.page("patient_account", patient.id, before=None, limit=5)) == 1
    assert len(await house.ctx.orders.page(patient.id, before=None, limit=5)) == 1


@pytest.mark.gen_test(timeout=30)
async def test_a_request_whose_order_another_process_is_opening_is_told_to_come_again(house):
    patient, patient_id = await house.patient()
    form = await house.form(patient_id)
    visit = await house.submit(patient, form, "key-3")
    await house.ctx.store.db["orders"].delete_one({"_id": visit["order_id"]})
    with pytest.raises(Conflict) as refused:
        await house.submit(patient, form, "key-3")
    assert (refused.value.code, refused.value.retry_after) == ("in_progress", 1)


@pytest.mark.gen_test(timeout=30)
async def test_request_ids_belong_to_their_accounts(house):
    first, first_id = await house.patient()
    second, second_id = await house.patient()
    visits = [
        await house.submit(first, await house.form(first_id), "key-4"),
        await house.submit(second, await house.form(second_id), "key-4"),
    ]
    assert visits[0]["_id"] != visits[1]["_id"]
    assert [one["patient_account"] for one in visits] == [first.id, second.id]


@pytest.mark.gen_test(timeout=30)
async def test_a_submitted_visit_is_whole_and_sealed(house):
    words = {"description": "标记症状", "duration": "一周", "history": "", "allergies": "标记药物"}
    case = await house.submitted(condition=words)
    visit = await case.visit()
    assert (visit["status"], visit["version"], visit["fee"], visit["rating"]) == ("pending_payment", 1, 3_000, None)
    assert json.loads(house.ctx.cipher.open(visit["condition"], field="visit.condition")) == words
    assert "标记" not in repr(visit)
    assert "演示家属" not in repr(visit)
    assert visit["retain_until"] == years_later(visit["created_at"], 15)
    assert (visit["deadline_at"] - visit["created_at"]).total_seconds() == 15 * 60
    assert [(one["act"], one["actor"], one["role"]) for one in visit["history"]] == [
        ("create", case.patient.id, "patient")
    ]


@pytest.mark.gen_test(timeout=30)
async def test_a_visit_without_a_fee_waits_at_once_and_has_a_day(house):
    case = await house.submitted(house.free_doctor)
    visit = await case.visit()
    assert (visit["status"], visit["order_id"], visit["submitted_at"]) == ("waiting", None, visit["created_at"])
    assert (visit["deadline_at"] - visit["created_at"]).total_seconds() == 24 * 3_600
    assert visit["duties"] == []
    assert [one["event"] for one in await case.said()] == ["visit.submit"]


@pytest.mark.gen_test(timeout=30)
async def test_the_visit_keeps_the_patient_as_they_were(house):
    case = await house.submitted()
    before = await case.visit()
    patient = await house.ctx.patients.get(before["patient"]["id"])
    form = {"phone": "19900091111", "version": patient["version"]}
    await patients.change(house.ctx, caller=case.patient, patient_id=patient["_id"], form=form)
    assert (await case.visit())["patient"] == before["patient"]
    assert submission.snapshot(patient)["name"] == before["patient"]["name"]


@pytest.mark.feature("P1.3")
@pytest.mark.gen_test(timeout=30)
async def test_too_many_attachments_are_refused_before_any_is_touched(house):
    patient, patient_id = await house.patient()
    form = await house.form(patient_id, attachments=[f"01MEDIUM{n:02d}" for n in range(21)])
    with pytest.raises(Invalid) as refused:
        await house.submit(patient, form)
    assert refused.value.errors == {"attachments": ["最多上传 20 个附件"]}
    assert await house.ctx.visits.page("patient_account", patient.id, before=None, limit=5) == []
