"""What is entrusted to the hospital is not found in its stores, its logs or its figures."""

import secrets

import pytest
from structlog.testing import capture_logs

from scripts.story import (
    doctor_logs_in,
    patient_finds_the_doctor,
    patient_logs_in,
    patient_pays,
    patient_uploads_pictures,
    valid_id_number,
)
from tests.people import fresh_key, new_phone, stage_of, visit_form

NAME, GUARDIAN, CHILD = "甄晓标", "甄守标", "甄小标"
CONDITION = {"description": "标记症状", "duration": "标记时长", "history": "标记病史", "allergies": "标记过敏"}
SAID = ("标记私语", "标记回答", "标记建议")


@pytest.fixture
def numbers():
    """Phones and ID numbers that occur nowhere else."""
    birth = f"19{50 + secrets.randbelow(40)}0{1 + secrets.randbelow(9)}1{secrets.randbelow(10)}"
    return {
        "phone": new_phone(),
        "id_number": valid_id_number(birth, 2 * secrets.randbelow(490) + 1),
        "birth_date": f"{birth[:4]}-{birth[4:6]}-{birth[6:]}",
        "guardian_phone": new_phone(),
        "guardian_id": valid_id_number("19850203", 2 * secrets.randbelow(490) + 1),
    }


async def consult(stage, numbers):
    """A whole consultation in which everything that can be said is said in words that occur nowhere else."""
    for step in (patient_logs_in, doctor_logs_in, patient_finds_the_doctor, patient_uploads_pictures):
        await step(stage)
    form = {
        "name": NAME,
        "id_type": "01",
        "gender": "1",
        "relation": "other",
        **{name: numbers[name] for name in ("phone", "id_number", "birth_date")},
    }
    stage.found["patient"] = patient = await stage.patient.post("/patients", form)
    await stage.patient.post(f"/patients/{patient['id']}/verify")
    attached = [image["id"] for image in stage.found["images"]]
    wanted = await visit_form(stage, condition=CONDITION, attachments=attached)
    visit = stage.found["visit"] = await stage.patient.post("/visits", wanted, key=fresh_key())
    await patient_pays(stage)
    await stage.doctor.post(f"/visits/{visit['id']}/accept")
    await stage.lines["patient"].say(visit["id"], SAID[0])
    await stage.lines["doctor"].say(visit["id"], SAID[1])
    for reader in (stage.patient, stage.doctor):
        assert (await reader.get(f"/visits/{visit['id']}"))["patient"]["name"] == NAME
        assert CONDITION["allergies"] in str(await reader.get(f"/visits/{visit['id']}"))
        assert (await reader.get("/visits", q=NAME))["items"][0]["id"] == visit["id"]
        assert SAID[0] in str(await reader.get(f"/visits/{visit['id']}/messages"))
    ending = {"reason": "UNSUITABLE", "advice": SAID[2], "refund": True}
    ended = await stage.doctor.post(f"/visits/{visit['id']}/terminate", ending)
    assert ended["advice"] == SAID[2]
    await stage.patient.post(f"/visits/{visit['id']}/rating", {"stars": 5, "text": ""})
    again = await stage.patient.post("/auth/refresh", {"refresh_token": stage.patient.refresh_token})
    await stage.close()
    tokens = (stage.patient.token, stage.doctor.token, stage.patient.refresh_token, again["refresh_token"])
    return [*SAID, *CONDITION.values(), NAME, *tokens]


async def a_child(stage, numbers):
    """A child with a guardian, whose names and numbers are entrusted like the patient's own."""
    form = {
        "name": CHILD,
        "id_type": "01",
        "id_number": valid_id_number("20180601", 2 * secrets.randbelow(490) + 1),
        "gender": "1",
        "birth_date": "2018-06-01",
        "phone": numbers["guardian_phone"],
        "relation": "child",
    }
    guardian = {"name": GUARDIAN, "id_type": "01", "id_number": numbers["guardian_id"], "relation": "father"}
    child = await stage.patient.post("/patients", form)
    guarded = {**guardian, "phone": numbers["guardian_phone"]}
    await stage.patient.call("PUT", f"/patients/{child['id']}/guardian", guarded)
    return [CHILD, GUARDIAN, form["id_number"], numbers["guardian_id"], numbers["guardian_phone"]]


async def stored(hospital):
    """Every document of every collection, as text with its collection's name; the bytes of files as they are."""
    database = hospital.ctx.store.db
    for name in await database.list_collection_names():
        for document in await database[name].find({}).to_list(None):
            yield name, repr(document), b"".join(one for one in document.values() if isinstance(one, bytes))


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test(timeout=90)
async def test_nothing_entrusted_is_found_in_the_stores_the_logs_or_the_figures(hospital, numbers, caplog):
    stage = stage_of(hospital)
    stage.found["phone"] = new_phone()
    with capture_logs() as logs:
        marks = await consult(stage, numbers)
        marks += await a_child(stage, numbers)
        await hospital.ctx.duties.run_due()
    marks += [stage.found["phone"], numbers["phone"], numbers["id_number"]]
    assert all(len(mark) >= 3 for mark in marks)

    collections, found = set(), []
    async for name, text, content in stored(hospital):
        collections.add(name)
        found += [(name, mark) for mark in marks if mark in text or mark.encode() in content]
    assert found == []
    assert collections >= {"accounts", "patients", "visits", "orders", "messages", "ratings", "sessions", "idempotency"}

    said = [*map(repr, logs), *caplog.messages]
    assert {"http.request", "outside.called"} <= {one["event"] for one in logs}
    assert [(line, mark) for line in said for mark in marks if mark in line] == []

    figures = (await hospital.http.get(f"{hospital.url}/metrics")).text
    assert [mark for mark in marks if mark in figures] == []
    cached = [repr(key) for key in await hospital.ctx.revocations._redis.keys("*")]
    assert [(key, mark) for key in cached for mark in marks if mark in key] == []
