"""The doctor's desk and one's own history, acted by two people from the login on."""

from datetime import timedelta

import pytest

from core.ids import china_today
from scripts.acting import Refused, until
from scripts.story import picture
from tests.people import fresh_key, in_progress, submitted, visit_form, waiting


@pytest.mark.feature("D3.1")
@pytest.mark.gen_test(timeout=60)
async def test_a_patient_becomes_the_doctors_patient_with_the_payment_and_is_put_into_groups(hospital):
    stage = await submitted(hospital)
    patient, doctor = stage.found["patient"]["id"], stage.doctor
    group = await doctor.post("/desk/groups", {"name": f"复查{patient[-6:]}"})
    place = f"/desk/groups/{group['id']}/patients/{patient}"
    with pytest.raises(Refused) as early:
        await doctor.call("PUT", place)
    order = stage.found["visit"]["order"]["id"]
    await stage.patient.post(f"/orders/{order}/payment", {"channel": "wechat_jsapi"}, key=fresh_key())
    await stage.outside.pay(order)

    async def is_a_patient():
        return patient in [one["id"] for one in (await doctor.get("/desk/patients"))["items"]]

    await until(is_a_patient)
    await doctor.call("PUT", place)
    grouped = await doctor.get("/desk/patients", group=group["id"])
    record = await doctor.get(f"/desk/patients/{patient}")
    assert early.value.code == "not_found"
    assert [(one["id"], one["name"]) for one in grouped["items"]] == [(patient, "演*")]
    assert (record["name"], [one["id"] for one in record["history"]["items"]]) == (
        "演示家属",
        [stage.found["visit"]["id"]],
    )
    with pytest.raises(Refused) as refused:
        await stage.patient.get("/desk/patients")
    assert refused.value.code == "forbidden"


@pytest.mark.feature("D4.1")
@pytest.mark.rule("R2-7")
@pytest.mark.gen_test(timeout=60)
async def test_the_fee_is_in_the_doctors_orders_and_todays_income_until_it_goes_back(hospital):
    async def today() -> dict[str, int]:
        # Two days, because the test may run over China's midnight.
        day = china_today(hospital.ctx.clock)
        span = {"from": str(day - timedelta(days=1)), "to": str(day)}
        return (await stage.doctor.get("/desk/income", by="day", **span))["total"]

    stage = await submitted(hospital, doctor="qiaominzhi")
    visit, fee = stage.found["visit"], stage.found["visit"]["fee"]
    before = await today()
    await stage.patient.post(f"/orders/{visit['order']['id']}/payment", {"channel": "wechat_jsapi"}, key=fresh_key())
    await stage.outside.pay(visit["order"]["id"])

    async def line(status):
        found = (await stage.doctor.get("/desk/orders", status=status))["items"]
        return next((one for one in found if one["id"] == visit["order"]["id"]), None)

    async def is_paid():
        return await line("paid") is not None

    async def is_refunded():
        return await line("refunded") is not None

    await until(is_paid)
    shown, earned = await line("paid"), await today()
    await stage.doctor.post(f"/visits/{visit['id']}/refund", {"reason": "误操作"}, key=fresh_key())
    await until(is_refunded)
    given_back, after = await line("refunded"), await today()
    assert (shown["amount"], shown["visit"], shown["patient"]) == (fee, visit["id"], "演*")
    assert (earned["paid"] - before["paid"], earned["net"] - before["net"]) == (fee, fee)
    assert given_back["refund"]["state"] == "SUCCESS"
    assert (after["paid"] - before["paid"], after["refunded"] - before["refunded"]) == (fee, fee)
    assert after["net"] == before["net"]


@pytest.mark.feature("D4.2")
@pytest.mark.gen_test(timeout=60)
async def test_a_changed_fee_is_what_the_next_patient_pays_and_not_who_has_asked_already(hospital):
    stage = await submitted(hospital, doctor="wenyining")
    old = stage.found["visit"]["fee"]
    image = await stage.doctor.upload(picture(), "image/jpeg")
    await stage.doctor.call("PATCH", "/desk/profile", {"fees": {"consult": old + 100}, "photo": image["id"]})
    shown = await stage.patient.get(f"/doctors/{stage.doctor.account['id']}")
    photo = await hospital.person().send("GET", shown["photo"].removeprefix("/api/v1"))
    next_one = await stage.patient.post("/visits", await visit_form(stage), key=fresh_key())
    first = await stage.patient.get(f"/visits/{stage.found['visit']['id']}")
    await stage.doctor.call("PATCH", "/desk/profile", {"fees": {"consult": old}, "photo": None})
    assert (shown["fees"]["consult"], next_one["fee"], next_one["order"]["amount"]) == (old + 100,) * 3
    assert (first["fee"], first["order"]["amount"]) == (old, old)
    assert (photo.status_code, photo.headers["Content-Type"]) == (200, "image/jpeg")


@pytest.mark.feature("D2.1")
@pytest.mark.gen_test(timeout=60)
async def test_the_numbers_on_the_doctors_home_are_pushed_with_every_move_and_with_no_message(hospital):
    stage = await waiting(hospital, doctor="ouyangche")
    visit, line = stage.found["visit"]["id"], stage.lines["doctor"]
    begun = await line.next_event("desk.updated")
    await stage.doctor.post(f"/visits/{visit}/accept")
    accepted = await line.next_event("desk.updated")
    await stage.lines["patient"].say(visit, "医生您好")
    await line.next_event("message.created", kind="text")
    assert "desk.updated" not in [event["ev"] for event in line.events]
    await stage.doctor.post(f"/visits/{visit}/complete")
    ended = await line.next_event("desk.updated")
    summary = await stage.doctor.get("/desk/summary")
    told = [event["ev"] for event in stage.lines["patient"].events]
    await stage.close()
    assert accepted == {"waiting": begun["waiting"] - 1, "accepted": begun["accepted"] + 1}
    assert ended == {"waiting": begun["waiting"] - 1, "accepted": begun["accepted"]}
    assert ended == {"waiting": summary["waiting"], "accepted": summary["accepted"]}
    assert "desk.updated" not in told


@pytest.mark.feature("D4.3")
@pytest.mark.feature("P4.1")
@pytest.mark.gen_test(timeout=60)
async def test_the_patient_and_the_doctor_read_the_rating_each_in_their_own_place(hospital):
    stage = await in_progress(hospital)
    visit = stage.found["visit"]["id"]
    await stage.doctor.post(f"/visits/{visit}/complete")
    nothing_yet = await stage.patient.get("/me/ratings")
    await stage.patient.post(f"/visits/{visit}/rating", {"stars": 4, "text": "讲得很清楚"})
    (mine,) = (await stage.patient.get("/me/ratings"))["items"]
    read = await stage.doctor.get("/desk/ratings", limit=1)
    await stage.close()
    assert nothing_yet == {"items": [], "next_cursor": None}
    assert (mine["stars"], mine["text"], mine["visit"]["id"]) == (4, "讲得很清楚", visit)
    assert mine["doctor"]["id"] == stage.doctor.account["id"]
    assert mine["doctor"]["name"] == stage.found["doctor"]["name"]
    assert mine["visit"]["status"] == "completed"
    assert [(one["visit"], one["author"], one["stars"]) for one in read["items"]] == [(visit, "演*", 4)]
    assert sum(read["distribution"].values()) == read["count"] >= 1
    with pytest.raises(Refused) as refused:
        await stage.doctor.get("/me/ratings")
    assert refused.value.code == "forbidden"


@pytest.mark.feature("P4.3")
@pytest.mark.gen_test(timeout=60)
async def test_the_patient_reads_an_ended_consultation_with_its_chat_and_no_other_patient_does(hospital):
    stage = await in_progress(hospital)
    visit = stage.found["visit"]["id"]
    await stage.lines["patient"].say(visit, "医生您好")
    await stage.lines["doctor"].say(visit, "您好，请讲")
    await stage.doctor.post(f"/visits/{visit}/complete")
    await stage.close()
    listed = await stage.patient.get("/visits", kind="consult", status="completed")
    detail = await stage.patient.get(f"/visits/{visit}")
    chat = await stage.patient.get(f"/visits/{visit}/messages", limit=100)
    stranger = await in_progress(hospital)
    await stranger.close()
    assert [one["id"] for one in listed["items"]] == [visit]
    assert detail["condition"]["description"] == "近一周活动后胸闷，休息后缓解"
    said = [(one["from"]["role"], one["body"]["text"]) for one in chat["items"] if one["kind"] == "text"]
    assert said == [("patient", "医生您好"), ("doctor", "您好，请讲")]
    assert visit not in [one["id"] for one in (await stranger.patient.get("/visits"))["items"]]
    for path in (f"/visits/{visit}", f"/visits/{visit}/messages"):
        with pytest.raises(Refused) as refused:
            await stranger.patient.get(path)
        assert refused.value.code == "not_found"
