"""The whole story of a paid text-and-image consultation, and its shortcuts."""

import pytest

from scripts.acting import Refused
from scripts.story import CONSULTATION
from tests.people import fresh_key, in_progress, stage_of, visit_form, waiting


@pytest.mark.feature("P1.1")
@pytest.mark.feature("P1.4")
@pytest.mark.feature("P1.6")
@pytest.mark.gen_test(timeout=60)
async def test_a_patient_is_helped_from_login_to_rating(hospital):
    stage = stage_of(hospital)
    for step in CONSULTATION:
        await step(stage)
    await stage.close()
    ended = await stage.patient.get(f"/visits/{stage.found['visit']['id']}")
    assert [step["act"] for step in ended["history"]] == ["create", "submit", "accept", "complete", "rate"]
    assert (ended["status"], ended["order"]["status"], ended["rating"]["stars"]) == ("completed", "paid", 5)
    history = await stage.patient.get(f"/visits/{ended['id']}/messages", limit=100)
    assert [one["kind"] for one in history["items"]] == [
        "system",
        "system",
        "text",
        "image",
        "video",
        "emoji",
        "text",
        "text",
        "system",
        "card",
    ]
    assert [one["seq"] for one in history["items"]] == list(range(1, 11))


@pytest.mark.feature("D5.8")
@pytest.mark.gen_test(timeout=60)
async def test_the_doctor_reads_illness_attachments_chat_and_order_in_the_detail(hospital):
    stage = await in_progress(hospital)
    visit = stage.found["visit"]["id"]
    await stage.lines["patient"].say(visit, "医生您好")
    detail = await stage.doctor.get(f"/visits/{visit}")
    history = await stage.doctor.get(f"/visits/{visit}/messages", limit=100)
    await stage.close()
    assert detail["condition"] == {
        "description": "近一周活动后胸闷，休息后缓解",
        "duration": "一周",
        "history": "高血压五年",
        "allergies": "青霉素",
    }
    assert [one["mime"] for one in detail["attachments"]] == ["image/jpeg", "image/jpeg"]
    assert (detail["order"]["status"], detail["order"]["amount"]) == ("paid", detail["fee"])
    assert {one["kind"] for one in detail["consents"]} == {"consult_notice", "sensitive_data"}
    assert history["items"][-1]["body"] == {"text": "医生您好"}


@pytest.mark.feature("D2.1")
@pytest.mark.gen_test(timeout=60)
async def test_the_doctors_home_counts_and_filters_and_is_told_at_once(hospital):
    stage = await waiting(hospital, doctor="hesiyuan")
    visit = stage.found["visit"]["id"]
    before = await stage.doctor.get("/desk/summary")
    await stage.doctor.post(f"/visits/{visit}/accept")
    await stage.lines["doctor"].next_event("visit.updated", visit=visit, status="in_progress")
    after = await stage.doctor.get("/desk/summary")
    listed = {
        status: [one["id"] for one in (await stage.doctor.get("/visits", status=status))["items"]]
        for status in ("waiting", "in_progress", "waiting,in_progress")
    }
    await stage.close()
    assert (before["waiting"] - after["waiting"], after["accepted"] - before["accepted"]) == (1, 1)
    assert after["all"] == before["all"]
    assert [visit in listed[status] for status in listed] == [False, True, True]
    assert after["online"] is True


@pytest.mark.feature("D2.2")
@pytest.mark.gen_test(timeout=60)
async def test_the_doctor_filters_and_searches_the_consultations_and_pages_through_them(hospital):
    stage = await waiting(hospital, doctor="fangxiaotang")
    first = stage.found["visit"]["id"]
    form = await visit_form(stage, condition={"description": "反酸嗳气三天"})
    second = (await stage.patient.post("/visits", form, key=fresh_key()))["id"]
    doctor = stage.doctor
    unpaid_is_hidden = [one["id"] for one in (await doctor.get("/visits"))["items"]]
    order = (await stage.patient.get(f"/visits/{second}"))["order"]["id"]
    await stage.patient.post(f"/orders/{order}/payment", {"channel": "wechat_jsapi"}, key=fresh_key())
    await stage.outside.pay(order)
    await stage.lines["doctor"].next_event("visit.updated", visit=second, status="waiting")
    by_illness = await doctor.get("/visits", q="反酸")
    by_name = await doctor.get("/visits", q="演示家属", kind="consult", status="waiting")
    nobody = await doctor.get("/visits", q="无此人")
    page = await doctor.get("/visits", limit=1)
    rest = await doctor.get("/visits", limit=1, cursor=page["next_cursor"])
    await stage.close()
    assert second not in unpaid_is_hidden
    assert [one["id"] for one in by_illness["items"]] == [second]
    assert [one["id"] for one in by_name["items"]] == [second, first]
    assert nobody == {"items": [], "next_cursor": None}
    assert ([page["items"][0]["id"]], [rest["items"][0]["id"]]) == ([second], [first])
    with pytest.raises(Refused) as refused:
        await doctor.get("/visits", status="nonsense")
    assert (refused.value.code, list(refused.value.body["errors"])) == ("invalid", ["status"])


@pytest.mark.gen_test(timeout=60)
async def test_a_doctor_without_a_fee_is_asked_without_an_order(hospital):
    stage = stage_of(hospital, doctor="yuanran")
    stage.found["doctor"] = {}
    for step in CONSULTATION[:2]:
        await step(stage)
    stage.found["doctor"] = await stage.patient.get(f"/doctors/{stage.doctor.account['id']}")
    for step in CONSULTATION[3:5]:
        await step(stage)
    visit = await stage.patient.post("/visits", await visit_form(stage), key=fresh_key())
    assert (visit["status"], visit["fee"], visit["order"]) == ("waiting", 0, None)
    listed = await stage.doctor.get("/visits", status="waiting")
    assert visit["id"] in [one["id"] for one in listed["items"]]
    cancelled = await stage.patient.post(f"/visits/{visit['id']}/cancel")
    assert (cancelled["status"], cancelled["order"]) == ("cancelled", None)
