"""What the back office changes in one process holds in another one at once: two processes on the same stores.

The second does not look into the stores from time to time, as processes else do: what it knows, it was told, or reads
when it is asked.
"""

import asyncio
from dataclasses import replace

import pytest

from app import serving
from core.backoffice.live import LiveSettings
from core.directory.catalogue import Catalogue
from scripts.acting import Person, Refused, until
from tests.journeys.test_back_office import PASSWORD, doctor_page, new_member, officer
from tests.people import fresh_key, new_phone


@pytest.fixture(scope="module")
def elsewhere(hospital, io_loop):
    """The address of the second process."""

    async def never(self, pause_seconds):
        await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LiveSettings, "_keep_fresh", never)
        patched.setattr(Catalogue, "_keep_fresh", never)
        settings = replace(hospital.settings, listen_port=0)
        process = io_loop.run_sync(lambda: serving.start(settings, "all"), timeout=60)
    yield f"http://127.0.0.1:{process.port}"
    io_loop.run_sync(process.stop, timeout=60)


def at(url: str, person: Person) -> Person:
    """The same person, asking there."""
    there = Person(person._http, url)
    there.token, there.refresh_token = person.token, person.refresh_token
    return there


async def is_told(holds):
    """Right after: the bus has a message to bring."""

    async def it_holds():
        return await holds()

    await until(it_holds, seconds=5)


@pytest.mark.gen_test(timeout=60)
async def test_a_department_is_on_the_other_processs_page(hospital, elsewhere):
    admin = await officer(hospital, "admin")
    made = await admin.post("/admin/departments", {"code": "21", "name": "康复医学科"})
    path = f"/admin/departments/{made['id']}"

    async def named(name):
        listed = (await at(elsewhere, admin).get("/departments"))["items"]
        return name in [one["name"] for one in listed if one["id"] == made["id"]]

    await is_told(lambda: named("康复医学科"))
    await admin.call("PATCH", path, {"name": "康复科"})
    await is_told(lambda: named("康复科"))


@pytest.mark.gen_test(timeout=60)
async def test_a_doctor_is_offered_changed_and_taken_off_there(hospital, elsewhere):
    made, doctor = await new_member(hospital, "doctor", doctor=doctor_page())
    admin = await officer(hospital, "admin", elevated=True)
    page = f"/admin/doctors/{made['id']}"

    async def offers(fee, services):
        answer = await at(elsewhere, admin).send("GET", f"/doctors/{made['id']}")
        if answer.status_code == 404:  # made a moment ago
            return False
        shown = answer.json()
        return (shown["fees"].get("consult"), shown["services"]) == (fee, services)

    await is_told(lambda: offers(1_500, ["consult"]))
    await admin.call("PATCH", page, {"fees": {"consult": 2_500}})
    await is_told(lambda: offers(2_500, ["consult"]))
    await admin.call("PATCH", page, {"licence_valid_to": "2020-01-01"})
    await is_told(lambda: offers(None, []))
    await admin.call("PATCH", page, {"licence_valid_to": "2040-01-01"})
    await is_told(lambda: offers(2_500, ["consult"]))
    await admin.call("PATCH", f"/admin/staff/{made['id']}", {"status": "disabled"})
    with pytest.raises(Refused) as refused:
        await at(elsewhere, doctor).get("/me")
    assert refused.value.code == "unauthenticated"
    await is_told(lambda: offers(None, []))


@pytest.mark.gen_test(timeout=60)
async def test_a_disabled_account_and_a_changed_role_close_the_socket_there_and_their_tokens_with_it(
    hospital, elsewhere
):
    admin, guard = (
        await officer(hospital, "admin", elevated=True),
        await officer(hospital, "security_admin", elevated=True),
    )
    for by, change in ((admin, {"status": "disabled"}), (guard, {"role": "pharmacist"})):
        made, nurse = await new_member(hospital)
        there = at(elsewhere, nurse)
        line = await there.connect()
        await by.call("PATCH", f"/admin/staff/{made['id']}", change)
        await asyncio.wait_for(line.closed.wait(), 10)
        assert line.close_code == 4001
        await line.close()
        with pytest.raises(Refused) as refused:
            await there.get("/me")
        assert refused.value.code == "unauthenticated"


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test(timeout=60)
async def test_one_session_ended_here_ends_there_and_a_proof_given_here_counts_there(hospital, elsewhere):
    made, nurse = await new_member(hospital)
    other = await hospital.person().login_by_password(made["account"], PASSWORD)
    line = await at(elsewhere, other).connect()
    ended = next(one["id"] for one in (await nurse.get("/me/sessions"))["items"] if not one["current"])
    await nurse.call("DELETE", f"/me/sessions/{ended}")
    await asyncio.wait_for(line.closed.wait(), 10)
    assert line.close_code == 4001
    await line.close()
    await nurse.post("/auth/elevate", {"password": PASSWORD})
    assert (await at(elsewhere, nurse).post("/me/second-factor"))["uri"].startswith("otpauth://")


@pytest.mark.gen_test(timeout=60)
async def test_a_consultation_type_may_be_chosen_there_and_then_no_more(hospital, elsewhere):
    admin = await officer(hospital, "admin")
    name = f"类型{new_phone()[-6:]}"
    made = await admin.post("/admin/consult-types", {"name": name})

    async def listed():
        return [one["id"] for one in (await at(elsewhere, admin).get("/consult-types"))["items"]]

    assert made["id"] in await listed()
    await admin.call("PATCH", f"/admin/consult-types/{made['id']}", {"enabled": False})
    assert made["id"] not in await listed()


@pytest.mark.rule("R3-1")
@pytest.mark.gen_test(timeout=60)
async def test_a_new_version_of_a_consent_text_is_the_one_in_force_there(hospital, elsewhere):
    admin = await officer(hospital, "admin")
    before = await admin.get("/consent-texts/sensitive_data")
    version = f"2.{new_phone()[-6:]}"
    made = await admin.post(
        "/admin/consent-texts", {"kind": "sensitive_data", "version": version, "title": "单独同意书", "body": "新文本"}
    )
    shown = await at(elsewhere, admin).get("/consent-texts/sensitive_data")
    assert (shown["version"], shown["hash"]) == (version, made["hash"])
    assert await at(elsewhere, admin).get("/consent-texts/sensitive_data", version=before["version"]) == before


@pytest.mark.gen_test(timeout=60)
async def test_a_number_of_the_hospital_holds_there(hospital, elsewhere):
    admin = await officer(hospital, "admin")
    patient = at(elsewhere, await hospital.person().login_by_wechat(hospital.outside, new_phone()))

    async def value():
        items = (await at(elsewhere, admin).get("/admin/settings"))["items"]
        return next(one["value"] for one in items if one["name"] == "visits_per_hour")

    async def is_one():
        return await value() == 1

    async def is_thirty():
        return await value() == 30

    try:
        await admin.call("PATCH", "/admin/settings", {"values": {"visits_per_hour": 1}})
        await until(is_one, seconds=5)
        codes = [(await patient.send("POST", "/visits", json={}, key=fresh_key())).status_code for _ in range(2)]
        assert codes == [422, 429]
    finally:
        await admin.call("PATCH", "/admin/settings", {"values": {"visits_per_hour": None}})
    await until(is_thirty, seconds=5)
    newest = (await at(elsewhere, admin).get("/admin/settings/history", limit=1))["items"][0]
    assert newest["steps"] == [{"name": "visits_per_hour", "from": 1, "to": None}]


@pytest.mark.gen_test(timeout=60)
async def test_the_doctors_own_page_and_presence_are_seen_there(hospital, elsewhere):
    made, doctor = await new_member(hospital, "doctor", doctor=doctor_page())
    await doctor.call("PATCH", "/desk/profile", {"introduction": "从业二十年。"})
    await doctor.call("PUT", "/desk/duty", {"online": True})

    async def is_shown():
        shown = await at(elsewhere, doctor).get(f"/doctors/{made['id']}")
        return (shown["introduction"], shown["online"]) == ("从业二十年。", True)

    await until(is_shown, seconds=5)
