"""What is refused when a visit is submitted, and that nothing is left behind."""

import pytest

from scripts.acting import Refused
from scripts.story import picture, valid_id_number
from tests.people import fresh_key, stage_of, submitted, visit_form

UNVERIFIED = {
    "name": "查无此人",
    "id_type": "03",
    "id_number": "E12345678",
    "gender": "1",
    "birth_date": "1980-01-01",
    "phone": "19900097777",
    "relation": "spouse",
}


async def refusal(stage, form, *, key=None):
    """The refusal of a submission, after making sure that no visit and no order came of it."""
    before = await stage.patient.get("/visits"), await stage.patient.get("/orders")
    with pytest.raises(Refused) as refused:
        await stage.patient.post("/visits", form, key=key or fresh_key())
    assert (await stage.patient.get("/visits"), await stage.patient.get("/orders")) == before
    return refused.value


@pytest.mark.feature("P1.5")
@pytest.mark.gen_test(timeout=60)
async def test_submitting_makes_one_order_however_often_it_is_sent(hospital):
    stage = await submitted(hospital)
    form = await visit_form(stage)
    key = fresh_key()
    first = await stage.patient.send("POST", "/visits", json=form, key=key)
    again = await stage.patient.send("POST", "/visits", json=form, key=key)
    other = await stage.patient.send("POST", "/visits", json={**form, "condition": {"description": "别的"}}, key=key)
    orders = await stage.patient.get("/orders")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotent-Replay"] == "true"
    assert first.json() == again.json()
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert [one["visit"] for one in orders["items"]].count(first.json()["id"]) == 1
    assert first.json()["deadline_at"] == first.json()["order"]["expires_at"]


@pytest.mark.gen_test(timeout=60)
async def test_a_submission_without_a_key_is_refused(hospital):
    stage = await submitted(hospital)
    answer = await stage.patient.send("POST", "/visits", json=await visit_form(stage))
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["Idempotency-Key"])


@pytest.mark.rule("R2-1")
@pytest.mark.feature("P1.2")
@pytest.mark.gen_test(timeout=60)
async def test_a_patient_who_is_not_verified_cannot_be_asked_for(hospital):
    stage = await submitted(hospital)
    patient = await stage.patient.post("/patients", UNVERIFIED)
    refused = await refusal(stage, await visit_form(stage, patient_id=patient["id"]))
    assert (refused.code, refused.body["status"]) == ("not_verified", 409)


@pytest.mark.gen_test(timeout=60)
async def test_another_accounts_patient_is_not_found(hospital):
    stage, stranger = await submitted(hospital), await submitted(hospital)
    refused = await refusal(stage, await visit_form(stage, patient_id=stranger.found["patient"]["id"]))
    assert (refused.code, refused.body["status"]) == ("not_found", 404)


@pytest.mark.rule("R2-8")
@pytest.mark.gen_test(timeout=60)
async def test_a_doctor_whose_licence_has_run_out_cannot_be_asked(hospital):
    stage = await submitted(hospital)
    expired = await hospital.person().login_by_password("shaolinchuan", "Demo-2026-doctor")
    refused = await refusal(stage, await visit_form(stage, doctor_id=expired.account["id"]))
    assert refused.code == "doctor_unavailable"
    with pytest.raises(Refused) as offline:
        await expired.call("PUT", "/desk/duty", {"online": True})
    assert offline.value.code == "doctor_unavailable"


@pytest.mark.rule("R2-2")
@pytest.mark.gen_test(timeout=60)
async def test_a_doctor_with_less_than_three_years_of_practice_cannot_be_asked(hospital):
    stage = await submitted(hospital)
    young = await hospital.person().login_by_password("mengxiaoman", "Demo-2026-doctor")
    refused = await refusal(stage, await visit_form(stage, doctor_id=young.account["id"]))
    assert refused.code == "doctor_unavailable"


@pytest.mark.rule("R3-1")
@pytest.mark.rule("R3-4")
@pytest.mark.parametrize("missing", ["consult_notice", "sensitive_data"])
@pytest.mark.gen_test(timeout=60)
async def test_a_visit_without_one_of_the_consents_is_refused(hospital, missing):
    stage = await submitted(hospital)
    form = await visit_form(stage)
    form["consents"] = [one for one in form["consents"] if one["kind"] != missing]
    refused = await refusal(stage, form)
    assert (refused.code, [*refused.body["errors"]]) == ("invalid", ["consents"])


@pytest.mark.rule("R3-1")
@pytest.mark.gen_test(timeout=60)
async def test_consents_are_kept_with_version_hash_time_and_address(hospital):
    stage = await submitted(hospital)
    kept = (await hospital.ctx.visits.get(stage.found["visit"]["id"]))["consents"]
    texts = {kind: await stage.patient.get(f"/consent-texts/{kind}") for kind in ("consult_notice", "sensitive_data")}
    assert {(one["kind"], one["version"], one["hash"]) for one in kept} == {
        (kind, text["version"], text["hash"]) for kind, text in texts.items()
    }
    assert all(one["address"] == "127.0.0.1" and one["at"] is not None for one in kept)


@pytest.mark.rule("R3-3")
@pytest.mark.gen_test(timeout=60)
async def test_a_child_under_fourteen_needs_a_verified_guardian(hospital):
    stage = await submitted(hospital)
    form = {
        "name": "演示孩子",
        "id_type": "01",
        "id_number": valid_id_number("20180601", 3),
        "gender": "1",
        "birth_date": "2018-06-01",
        "phone": "19900096666",
        "relation": "child",
    }
    child = await stage.patient.post("/patients", form)
    await stage.patient.post(f"/patients/{child['id']}/verify")
    texts = [
        await stage.patient.get(f"/consent-texts/{kind}") for kind in ("consult_notice", "sensitive_data", "children")
    ]
    consents = [{"kind": text["kind"], "version": text["version"]} for text in texts]
    wanted = await visit_form(stage, patient_id=child["id"], consents=consents)
    refused = await refusal(stage, wanted)
    assert refused.code == "guardian_required"
    guardian = {
        "name": "演示监护人",
        "id_type": "01",
        "id_number": valid_id_number("19850203", 5),
        "phone": "19900096665",
        "relation": "father",
    }
    await stage.patient.call("PUT", f"/patients/{child['id']}/guardian", guardian)
    visit = await stage.patient.post("/visits", wanted, key=fresh_key())
    assert visit["patient"]["guardian"] == {"name": "演示监护人", "relation": "father"}


@pytest.mark.feature("P1.3")
@pytest.mark.gen_test(timeout=60)
async def test_only_ones_own_finished_images_can_be_attached(hospital):
    stage, stranger = await submitted(hospital), await submitted(hospital)
    theirs = stranger.found["images"][0]["id"]
    refused = await refusal(stage, await visit_form(stage, attachments=[theirs]))
    assert refused.code in ("not_found", "invalid")
    assert (await stage.patient.send("GET", f"/media/{theirs}")).status_code == 404
    with pytest.raises(Refused) as wrong:
        await stage.patient.upload(b"not an image at all", "image/jpeg")
    assert wrong.value.code == "unsupported_media"
    mine = await stage.patient.upload(picture(), "image/png")
    assert mine["mime"] == "image/jpeg"


@pytest.mark.feature("P1.4")
@pytest.mark.gen_test(timeout=60)
async def test_a_disabled_consultation_type_cannot_be_chosen_and_the_back_office_decides(hospital):
    stage = await submitted(hospital)
    admin = await hospital.person().login_by_password("yunadmin", "Demo-2026-admin")
    made = await admin.post("/admin/consult-types", {"name": f"临时类型{fresh_key()[:6]}"})
    form = await visit_form(stage, consult_type_id=made["id"])
    assert made["id"] in [one["id"] for one in (await stage.patient.get("/consult-types"))["items"]]
    await admin.call("PATCH", f"/admin/consult-types/{made['id']}", {"enabled": False, "version": made["version"]})
    refused = await refusal(stage, form)
    assert (refused.code, [*refused.body["errors"]]) == ("invalid", ["consult_type_id"])
    assert made["id"] not in [one["id"] for one in (await stage.patient.get("/consult-types"))["items"]]


@pytest.mark.rule("R6-8")
@pytest.mark.gen_test(timeout=60)
async def test_the_price_is_shown_before_paying_and_is_the_price_charged(hospital):
    stage = await submitted(hospital)
    shown = await hospital.person().get(f"/doctors/{stage.found['doctor']['id']}")
    assert stage.found["visit"]["order"]["amount"] == shown["fees"]["consult"] == stage.found["visit"]["fee"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "prescription"}, "kind"),
        ({"condition": {"description": ""}}, "condition.description"),
        ({"condition": {"description": "头痛" * 1001}}, "condition.description"),
        ({"surprise": 1}, "surprise"),
        ({"consents": []}, "consents"),
        ({"attachments": "x"}, "attachments"),
    ],
)
@pytest.mark.gen_test(timeout=60)
async def test_a_wrong_field_is_named_and_nothing_is_stored(hospital, change, field):
    stage = await submitted(hospital)
    refused = await refusal(stage, {**await visit_form(stage), **change})
    assert (refused.code, [*refused.body["errors"]]) == ("invalid", [field])


@pytest.mark.rule("R1-8")
@pytest.mark.gen_test(timeout=60)
async def test_no_path_leads_from_a_consultation_to_a_prescription(hospital):
    stage = await submitted(hospital)
    answer = await stage.doctor.send("POST", f"/visits/{stage.found['visit']['id']}/prescriptions", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.gen_test(timeout=60)
async def test_a_stranger_finds_no_visit(hospital):
    stage, stranger = await submitted(hospital), stage_of(hospital, doctor="luzhengqian")
    await stranger.patient.login_by_wechat(stranger.outside, stranger.found["phone"])
    await stranger.doctor.login_by_password(stranger.doctor_login, stranger.doctor_password)
    visit = stage.found["visit"]["id"]
    for person in (stranger.patient, stranger.doctor):
        for path in (f"/visits/{visit}", f"/visits/{visit}/messages", f"/visits/{visit}/rating"):
            assert (await person.send("GET", path)).status_code == 404
    assert (await stranger.patient.send("GET", f"/orders/{stage.found['visit']['order']['id']}")).status_code == 404
    assert (await stranger.patient.send("POST", f"/visits/{visit}/cancel")).status_code == 404
    assert (await stage.patient.get(f"/visits/{visit}"))["status"] == "pending_payment"
