"""Who did what, and who was shown what: a consultation, looked at afterwards by the auditor."""

import httpx
import pytest

from scripts.acting import until
from scripts.demo import DEMO_PASSWORDS
from tests.people import in_progress


async def auditor_of(hospital):
    return await hospital.person().login_by_password("yunauditor", DEMO_PASSWORDS["auditor"])


async def told(auditor, subject):
    """Act, actor and role of the newest entries about a subject, oldest first."""
    found = (await auditor.get("/audit", subject=subject, limit=100))["items"]
    return [(one["act"], one["actor"], one["role"]) for one in reversed(found)]


@pytest.mark.rule("R5-8")
@pytest.mark.gen_test(timeout=60)
async def test_a_patient_reads_the_own_record_and_every_look_leaves_a_trace(hospital):
    stage = await in_progress(hospital)
    await stage.close()
    patient, visit = stage.patient, stage.found["visit"]
    me = (patient.account["id"], "patient")
    picture = visit["attachments"][0]["id"]
    record = await patient.get(f"/visits/{visit['id']}")
    await patient.get(f"/visits/{visit['id']}/messages")
    await patient.get(f"/orders/{visit['order']['id']}")
    await patient.get(f"/patients/{stage.found['patient']['id']}")
    await patient.send("GET", f"/media/{picture}")
    await patient.send("GET", f"/media/{picture}/thumbnail")
    link = await patient.post(f"/media/{picture}/links", {"variant": "original"})
    async with httpx.AsyncClient() as browser:
        await browser.get(f"{hospital.url}{link['url']}")
    auditor = await auditor_of(hospital)
    assert record["condition"]["description"]
    seen = await told(auditor, f"visit:{visit['id']}")
    assert seen.count(("visit.read", *me)) >= 1
    assert seen.count(("visit.messages", *me)) >= 1
    assert ("order.read", *me) in await told(auditor, f"order:{visit['order']['id']}")
    assert ("patient.read", *me) in await told(auditor, f"patient:{stage.found['patient']['id']}")
    assert set(await told(auditor, f"media:{picture}")) >= {
        ("media.read", *me),
        ("media.thumbnail", *me),
        ("media.link", *me),
        ("media.read", me[0], "link"),
    }


@pytest.mark.rule("R5-7")
@pytest.mark.gen_test(timeout=60)
async def test_every_step_of_a_consultation_is_sealed_within_seconds_and_the_chain_holds(hospital):
    stage = await in_progress(hospital)
    visit = stage.found["visit"]["id"]
    await stage.doctor.post(f"/visits/{visit}/complete")
    await stage.close()
    auditor = await auditor_of(hospital)
    moves = ("visit.create", "visit.submit", "visit.accept", "visit.complete")

    async def all_are_sealed():
        found = (await auditor.get("/audit", subject=f"visit:{visit}", limit=100))["items"]
        sealed = {one["act"] for one in found if one["block"] is not None}
        return sealed.issuperset(moves)

    await until(all_are_sealed, seconds=30)
    steps = [one for one in await told(auditor, f"visit:{visit}") if one[0] in moves]
    assert steps == [
        ("visit.create", stage.patient.account["id"], "patient"),
        ("visit.submit", "gateway", "system"),
        ("visit.accept", stage.doctor.account["id"], "doctor"),
        ("visit.complete", stage.doctor.account["id"], "doctor"),
    ]
    after, findings = 0, []
    while after is not None:
        page = await auditor.get("/audit/chain", after=after, limit=50)
        findings += page["findings"]
        after = page["next_after"]
    assert findings == []
    assert page["head"]["number"] >= 1


@pytest.mark.gen_test(timeout=60)
async def test_a_change_by_the_office_and_a_login_are_in_the_trail_without_names(hospital):
    admin = await hospital.person().login_by_password("yunadmin", DEMO_PASSWORDS["admin"])
    auditor = await auditor_of(hospital)
    made = await admin.post("/admin/consult-types", {"name": f"留痕{admin.account['id'][-6:]}"})

    async def is_told():
        return bool(await told(auditor, f"consult_type:{made['id']}"))

    await until(is_told, seconds=30)
    assert await told(auditor, f"consult_type:{made['id']}") == [("consult_type.create", admin.account["id"], "admin")]
    logins = (await auditor.get("/audit", actor=admin.account["id"], act="session.start"))["items"]
    assert (logins[0]["reason"], logins[0]["address"]) == ("password", "127.0.0.1")
