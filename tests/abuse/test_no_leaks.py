"""What people write and what must stay secret is in no line of the log and in no label of the metrics."""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from scripts.acting import Line, Person, Refused
from scripts.demo import DEMO_PASSWORDS
from scripts.story import (
    doctor_accepts,
    doctor_logs_in,
    patient_finds_the_doctor,
    patient_pays,
    picture,
    valid_id_number,
)
from tests.abuse.listening import Heard, Secrets, listening
from tests.hospital import TestHospital
from tests.people import (
    DOCTOR,
    fresh_key,
    new_phone,
    stage_of,
    visit_form,
)


@pytest.fixture(scope="module")
def secret() -> Secrets:
    return Secrets()


@pytest.fixture(scope="module")
def heard(io_loop, hospital, secret) -> Iterator[Heard]:
    """What was logged while people with secrets went through a consultation, its refusals and its mistakes."""
    with listening() as lines:
        io_loop.run_sync(lambda: consult(hospital, secret), timeout=90)
        io_loop.run_sync(lambda: err(hospital, secret), timeout=60)
        yield lines


async def refused(call: Any) -> str:
    """The code of a call that must fail."""
    try:
        await call
    except Refused as refusal:
        return refusal.code
    raise AssertionError("it was let in")


async def consult(hospital: TestHospital, secret: Secrets) -> None:
    stage = stage_of(hospital)
    patient, doctor = stage.patient, stage.doctor
    phone = secret.keep("phone", stage.found["phone"])
    codes = await hospital.outside.wechat_codes(phone)
    await patient.login(
        audience="patient",
        method="wechat",
        login_code=secret.keep("login_code", codes["login_code"]),
        phone_code=secret.keep("phone_code", codes["phone_code"]),
    )
    await doctor_logs_in(stage)
    secret.keep("doctor's password", stage.doctor_password)
    for name, person in (("patient", patient), ("doctor", doctor)):
        secret.keep(f"{name}'s access token", person.token)
        secret.keep(f"{name}'s refresh token", person.refresh_token)
    await patient_finds_the_doctor(stage)
    await add_family(stage.patient, stage.found, secret)
    stage.found["images"] = [await patient.upload(picture(), "image/jpeg") for _ in range(2)]
    link = await patient.post(f"/media/{stage.found['images'][0]['id']}/links", {"variant": "original"})
    secret.keep("signature of a link", link["url"].rpartition("signature=")[2])
    assert (await hospital.http.get(f"{hospital.url}{link['url']}")).status_code == 200
    condition = {name: secret.word(name) for name in ("description", "duration", "history")} | {"allergies": "青霉素"}
    form = await visit_form(stage, condition=condition, attachments=[one["id"] for one in stage.found["images"]])
    stage.found["visit"] = await patient.post("/visits", form, key=fresh_key())
    await patient_pays(stage)
    await doctor_accepts(stage)
    await chat(stage.lines, stage.found["visit"]["conversation"], secret)
    await doctor.get("/visits", q=secret.word("q"))
    visit = stage.found["visit"]["id"]
    advice = {"reason": "UNSUITABLE", "advice": secret.word("advice"), "refund": True}
    await doctor.post(f"/visits/{visit}/terminate", advice)
    await patient.post(f"/visits/{visit}/rating", {"stars": 4, "text": secret.word("rating")})
    ticket = await patient.post("/auth/tickets", {"purpose": "web_view"})
    await hospital.person().post("/auth/tickets/redeem", {"ticket": secret.keep("ticket", ticket["ticket"])})
    await patient.post("/auth/logout", {"refresh_token": patient.refresh_token})
    await stage.close()


async def add_family(patient: Person, found: dict[str, Any], secret: Secrets) -> None:
    number = secret.keep("id_number", valid_id_number("19610512", secrets.randbelow(499) * 2 + 1))
    form = {
        "name": secret.keep("name", "欧阳" + "".join(secrets.choice("甲乙丙丁戊己庚辛") for _ in range(6))),
        "id_type": "01",
        "id_number": number,
        "gender": "1",
        "birth_date": "1961-05-12",
        "phone": secret.keep("family phone", new_phone()),
        "relation": "other",
    }
    found["patient"] = await patient.post("/patients", form)
    await patient.post(f"/patients/{found['patient']['id']}/verify")
    guardian = {
        "name": secret.keep("guardian", "司徒" + "".join(secrets.choice("甲乙丙丁戊己庚辛") for _ in range(6))),
        "id_type": "01",
        "id_number": secret.keep("guardian's number", valid_id_number("19700101", secrets.randbelow(499) * 2 + 1)),
        "phone": secret.keep("guardian's phone", new_phone()),
        "relation": "parent",
    }
    with suppress(Refused):  # an adult may be refused one; it was sent all the same
        await patient.call("PUT", f"/patients/{found['patient']['id']}/guardian", guardian)


async def chat(lines: dict[str, Line], conversation: str, secret: Secrets) -> None:
    sent = await lines["patient"].say(conversation, secret.word("message"), id="secret-1")
    await lines["doctor"].next_event("message.created", seq=sent["seq"])
    assert (await lines["patient"].say(conversation, secret.said["message"], id="secret-1"))["dup"]
    assert (
        await refused(lines["patient"].say(conversation, secret.word("other"), id="secret-1")) == "idempotency_conflict"
    )
    await lines["patient"].request("message.recall", conversation=conversation, seq=sent["seq"])
    await refused(lines["patient"].request(secret.word("op"), conversation=secret.word("conversation")))
    await refused(lines["doctor"].request("message.send", conversation=conversation, kind=secret.word("kind"), body={}))


async def err(hospital: TestHospital, secret: Secrets) -> None:
    """Secrets in the wrong place, in what is refused, and where nobody expects them."""
    stranger = hospital.person()
    phone = secret.keep("stranger's phone", new_phone())
    await stranger.post("/auth/sms-codes", {"phone": phone, "purpose": "login"})
    code = secret.keep("text message code", await hospital.outside.text_message_code(phone))
    wrong = f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"
    assert await refused(
        stranger.login(audience="patient", method="sms", phone=phone, code=secret.keep("wrong code", wrong))
    )
    await stranger.login(audience="patient", method="sms", phone=phone, code=code)
    password = secret.word("wrong password")
    assert await refused(hospital.person().login_by_password(DOCTOR, password)) == "bad_credentials"
    await hospital.person().login_by_password(DOCTOR, DEMO_PASSWORDS["doctor"])
    assert await refused(hospital.person().login_by_password(secret.word("account"), password)) == "bad_credentials"
    assert await refused(stranger.post("/auth/refresh", {"refresh_token": secret.word("refresh")})) == "unauthenticated"
    assert await refused(stranger.post("/patients", {"name": secret.word("form"), "x": secret.word("unknown")}))
    assert await refused(stranger.get(f"/visits/{secret.word('id').replace(' ', '')}")) == "not_found"
    assert await refused(stranger.get("/doctors", **{secret.word("parameter"): secret.word("value")})) == "invalid"
    assert (await stranger.send(secret.keep("method", "VERSCHWIEGEN"), "/me")).status_code == 405
    headers = {"User-Agent": "agent-secret-1", "X-Forwarded-For": "agent-secret-1", "Cookie": "agent-secret-1"}
    secret.keep("header", "agent-secret-1")
    assert (await stranger.send("GET", "/me", headers=headers)).status_code == 200
    hidden = Person(hospital.http, hospital.url)
    hidden.token = secret.keep("false token", "e30.e30.verschwiegen")
    assert await refused(hidden.get("/me")) == "unauthenticated"
    body = {"code": secret.word("notification")}
    answer = await stranger.send("POST", "/notify/wechat-pay", json=body)
    assert answer.status_code == 401
    line = await Line.open(hospital.url)
    await line.write({"id": "1", "op": "hello", "args": {"token": secret.word("hello"), "device": "d"}})
    await line.closed.wait()
    await line.close()


@pytest.mark.gen_test(timeout=110)
async def test_no_secret_and_no_word_of_anybody_is_logged(heard, secret):
    assert len(secret.said) > 40
    assert len(heard.lines) > 50
    assert {name: line for line in heard.lines for name in secret.found_in(line)} == {}


@pytest.mark.gen_test(timeout=30)
async def test_nothing_of_it_is_a_label_of_the_metrics(heard, hospital, secret):
    answer = await hospital.http.get(f"{hospital.url}/metrics")
    assert "chat_requests_total" in answer.text or "http_requests_total" in answer.text
    assert secret.found_in(answer.text) == []


@pytest.mark.gen_test(timeout=30)
async def test_a_whole_consultation_logs_no_error(heard):
    assert heard.errors == []
