"""The back office: the hospital's people, its departments, doctors, texts and numbers, changed while it runs."""

import asyncio
import hashlib
from datetime import timedelta

import pyotp
import pytest

from core.wire import rfc3339
from scripts.acting import Refused, until
from scripts.demo import DEMO_PASSWORDS
from tests.people import new_phone, stage_of

OFFICERS = {
    "admin": "yunadmin",
    "security_admin": "yunsecurity",
    "auditor": "yunauditor",
    "regulator": "yunregulator",
}
PASSWORD = "correct-horse-7"


async def officer(hospital, role, *, elevated=False):
    """One of the demo's officers, logged in, and having proven themselves again if `elevated`."""
    person = await hospital.person().login_by_password(OFFICERS[role], DEMO_PASSWORDS[role])
    if elevated:
        assert await person.post("/auth/elevate", {"password": DEMO_PASSWORDS[role]}) == {"expires_in": 300}
    return person


def staff_form(role="nurse", **changes):
    phone = new_phone()
    return {"account": f"u{phone}", "role": role, "name": "沈知秋", "phone": phone, "password": PASSWORD} | changes


def doctor_page(**changes):
    return {
        "department_id": "cardiology",
        "gender": "2",
        "title": "233",
        "qualification_number": "199910000000000000000000777",
        "licence_number": "999100000000777",
        "licence_valid_to": "2040-12-31",
        "practice_start": "2010-07-01",
        "practice_scope": ["03.04"],
        "institution": "云帆市第一人民医院",
        "main_institution": True,
        "consent_document": "consent-777",
        "services": ["consult"],
        "fees": {"consult": 1_500},
    } | changes


async def new_member(hospital, role="nurse", **changes):
    """(the account, its owner logged in)."""
    by = "security_admin" if role in ("admin", "security_admin", "auditor") else "admin"
    office = await officer(hospital, by, elevated=by == "security_admin")
    made = await office.post("/admin/staff", staff_form(role, **changes))
    person = await hospital.person().login_by_password(made["account"], PASSWORD)
    return made, person


async def code_of_the_close(line):
    """What the server closes the socket with."""
    await asyncio.wait_for(line.closed.wait(), 5)
    code = line.close_code
    await line.close()
    return code


async def refusal(asked):
    with pytest.raises(Refused) as refused:
        await asked
    return refused.value.code


# --- people -----------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test(timeout=30)
async def test_the_office_makes_an_account_whose_first_password_is_told_once_and_must_be_changed(hospital):
    admin = await officer(hospital, "admin")
    form = staff_form()
    del form["password"]
    made = await admin.post("/admin/staff", form)
    first = made["initial_password"]
    assert (made["role"], made["status"], made["phone"]) == (
        "nurse",
        "active",
        f"{form['phone'][:3]}****{form['phone'][-4:]}",
    )
    shown = await admin.get(f"/admin/staff/{made['id']}")
    assert "initial_password" not in shown
    assert [(step["act"], step["actor"]) for step in shown["history"]] == [("create", admin.account["id"])]

    nurse = await hospital.person().login_by_password(form["account"], first)
    assert nurse.account["password_change_due"] is True
    own = await nurse.call("PUT", "/me/password", {"current": first, "password": PASSWORD})
    assert "password_change_due" not in own["account"]
    assert await refusal(nurse.get("/me")) == "unauthenticated"
    assert await refusal(hospital.person().login_by_password(form["account"], first)) == "bad_credentials"
    await hospital.person().login_by_password(form["account"], PASSWORD)


@pytest.mark.gen_test(timeout=30)
async def test_staff_are_listed_by_role_and_status_with_masked_phones(hospital):
    admin = await officer(hospital, "admin")
    made = [(await new_member(hospital, "pharmacist"))[0]["id"] for _ in range(3)]
    await admin.post("/auth/elevate", {"password": DEMO_PASSWORDS["admin"]})
    await admin.call("PATCH", f"/admin/staff/{made[1]}", {"status": "disabled"})
    first = await admin.get("/admin/staff", role="pharmacist", limit=2)
    rest = await admin.get("/admin/staff", role="pharmacist", limit=2, cursor=first["next_cursor"])
    assert [one["id"] for one in (*first["items"], *rest["items"])][:3] == made[::-1]
    disabled = await admin.get("/admin/staff", role="pharmacist", status="disabled")
    assert [one["id"] for one in disabled["items"]] == [made[1]]
    assert all("****" in one["phone"] for one in first["items"])


@pytest.mark.gen_test(timeout=30)
async def test_a_disabled_doctor_is_thrown_out_at_once_and_offered_to_nobody_until_enabled(hospital):
    made, doctor = await new_member(hospital, "doctor", doctor=doctor_page())
    assert (await doctor.get(f"/doctors/{made['id']}"))["services"] == ["consult"]
    line = await doctor.connect()
    admin = await officer(hospital, "admin")
    path = f"/admin/staff/{made['id']}"
    assert await refusal(admin.call("PATCH", path, {"status": "disabled"})) == "elevation_required"
    assert (await doctor.get("/me"))["id"] == made["id"]

    await admin.post("/auth/elevate", {"password": DEMO_PASSWORDS["admin"]})
    await admin.call("PATCH", path, {"status": "disabled"})
    assert await code_of_the_close(line) == 4001
    assert await refusal(doctor.get("/me")) == "unauthenticated"
    assert (await admin.get(f"/doctors/{made['id']}"))["services"] == []
    barred = await admin.get(f"/admin/doctors/{made['id']}")
    assert [bar["code"] for bar in barred["bars"]] == ["suspended"]
    await admin.call("PATCH", path, {"status": "active"})
    assert (await admin.get(f"/doctors/{made['id']}"))["services"] == ["consult"]


@pytest.mark.gen_test(timeout=30)
async def test_a_name_or_phone_that_another_has_is_refused_and_nothing_is_made(hospital):
    admin = await officer(hospital, "admin", elevated=True)
    one, other = staff_form(), staff_form()
    await admin.post("/admin/staff", one)
    second = await admin.post("/admin/staff", other)
    assert await refusal(admin.post("/admin/staff", staff_form(phone=one["phone"]))) == "duplicate"
    assert await refusal(admin.post("/admin/staff", staff_form(account=one["account"]))) == "duplicate"
    assert await refusal(admin.call("PATCH", f"/admin/staff/{second['id']}", {"phone": one["phone"]})) == "duplicate"
    kept = await admin.get(f"/admin/staff/{second['id']}")
    assert kept["phone"].endswith(other["phone"][-4:])
    assert [step["act"] for step in kept["history"]] == ["create"]


# --- three administrators kept apart ----------------------------------------------------------------------------------


@pytest.mark.rule("R6-3")
@pytest.mark.gen_test(timeout=30)
async def test_the_hospitals_administrator_makes_and_alters_no_administrator_not_even_itself(hospital):
    admin = await officer(hospital, "admin", elevated=True)
    (guard, _), (colleague, _) = await new_member(hospital, "security_admin"), await new_member(hospital, "admin")
    for role in ("admin", "security_admin", "auditor"):
        form = staff_form(role)
        assert await refusal(admin.post("/admin/staff", form)) == "forbidden"
        assert await hospital.ctx.accounts.by_login(form["account"]) is None
    nurse = (await new_member(hospital))[0]
    before = [await hospital.ctx.accounts.get(one["id"]) for one in (guard, colleague, nurse)]
    for account, change in (
        (admin.account["id"], {"role": "security_admin"}),
        (nurse["id"], {"role": "auditor"}),
        (guard["id"], {"status": "disabled"}),
        (guard["id"], {"phone": new_phone()}),
        (colleague["id"], {"name": "换人"}),
    ):
        assert await refusal(admin.call("PATCH", f"/admin/staff/{account}", change)) == "forbidden"
    for path in (f"{guard['id']}/password-reset", f"{nurse['id']}/unlock"):
        assert await refusal(admin.post(f"/admin/staff/{path}", {})) == "forbidden"
    for path in (f"{guard['id']}/second-factor", f"{guard['id']}/sessions"):
        assert await refusal(admin.call("DELETE", f"/admin/staff/{path}")) == "forbidden"
    assert [await hospital.ctx.accounts.get(one["id"]) for one in (guard, colleague, nurse)] == before


@pytest.mark.rule("R6-3")
@pytest.mark.gen_test(timeout=30)
async def test_the_security_administrator_gives_roles_but_runs_no_hospital_and_grants_itself_nothing(hospital):
    guard = await officer(hospital, "security_admin", elevated=True)
    nurse, person = await new_member(hospital)
    own = f"/admin/staff/{guard.account['id']}"
    assert await refusal(guard.call("PATCH", own, {"role": "admin"})) == "forbidden"
    assert await refusal(guard.call("PATCH", own, {"status": "disabled"})) == "forbidden"
    assert await refusal(guard.post("/admin/staff", staff_form("doctor"))) == "forbidden"
    for path in ("/admin/settings", "/admin/departments", "/admin/doctors", "/admin/consent-texts"):
        assert await refusal(guard.get(path)) == "forbidden"
    changed = await guard.call("PATCH", f"/admin/staff/{nurse['id']}", {"role": "pharmacist"})
    assert (changed["role"], changed["history"][-1]["from"], changed["history"][-1]["to"]) == (
        "pharmacist",
        "nurse",
        "pharmacist",
    )
    assert await refusal(person.get("/me")) == "unauthenticated"  # its tokens said nurse
    assert (await guard.get("/me"))["role"] == "security_admin"


@pytest.mark.rule("R6-3")
@pytest.mark.gen_test(timeout=30)
async def test_the_auditor_and_everybody_else_keep_out_of_staff_accounts(hospital):
    nurse, person = await new_member(hospital)
    auditor, regulator = await officer(hospital, "auditor"), await officer(hospital, "regulator")
    path = f"/admin/staff/{nurse['id']}"
    for stranger in (auditor, regulator, person):
        for asked in (
            stranger.get("/admin/staff"),
            stranger.get(path),
            stranger.post("/admin/staff", staff_form()),
            stranger.call("PATCH", path, {"role": "admin"}),
            stranger.post(f"{path}/password-reset", {}),
            stranger.call("DELETE", f"{path}/sessions"),
            stranger.call("PATCH", "/admin/settings", {"values": {"visits_per_hour": 5}}),
        ):
            assert await refusal(asked) == "forbidden"
    assert (await hospital.ctx.accounts.get(nurse["id"]))["role"] == "nurse"


@pytest.mark.rule("R6-3")
@pytest.mark.gen_test(timeout=30)
async def test_one_person_owns_no_two_administrator_accounts(hospital):
    guard = await officer(hospital, "security_admin", elevated=True)
    first = staff_form("auditor")
    await guard.post("/admin/staff", first)
    second = staff_form("admin", phone=first["phone"])
    assert await refusal(guard.post("/admin/staff", second)) == "duplicate"
    assert await hospital.ctx.accounts.by_login(second["account"]) is None


# --- second factor, proof, sessions -----------------------------------------------------------------------------------


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test(timeout=30)
async def test_an_authenticator_is_bound_asked_for_and_reset_by_the_security_administrator(hospital):
    made, nurse = await new_member(hospital)
    assert await refusal(nurse.post("/me/second-factor")) == "elevation_required"
    await nurse.post("/auth/elevate", {"password": PASSWORD})
    begun = await nurse.post("/me/second-factor")
    assert begun["uri"].startswith("otpauth://totp/")
    totp = pyotp.TOTP(begun["secret"])
    await hospital.person().login_by_password(made["account"], PASSWORD)  # not asked for yet
    code = totp.at(hospital.ctx.clock.now())
    await nurse.post("/me/second-factor/confirm", {"code": code})
    step = await nurse.post("/auth/login", login_body(made["account"]))
    assert set(step) == {"mfa"}
    assert await refusal(nurse.post("/auth/mfa", {"ticket": step["mfa"]["ticket"], "code": code})) == "bad_credentials"

    guard = await officer(hospital, "security_admin")
    path = f"/admin/staff/{made['id']}/second-factor"
    assert await refusal(guard.call("DELETE", path)) == "elevation_required"
    assert (await guard.get(f"/admin/staff/{made['id']}"))["second_factor"] is True
    await guard.post("/auth/elevate", {"password": DEMO_PASSWORDS["security_admin"]})
    await guard.call("DELETE", path)
    assert await refusal(nurse.get("/me")) == "unauthenticated"
    await hospital.person().login_by_password(made["account"], PASSWORD)


def login_body(account):
    return {"audience": "staff", "method": "password", "account": account, "password": PASSWORD}


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test(timeout=30)
async def test_ending_one_session_closes_its_socket_and_leaves_the_other(hospital):
    made, here = await new_member(hospital)
    there = await hospital.person().login_by_password(made["account"], PASSWORD)
    near, far = await here.connect(), await there.connect()
    rows = (await here.get("/me/sessions"))["items"]
    assert [row["current"] for row in rows] == [False, True]
    stranger = (await new_member(hospital))[1]
    assert await refusal(stranger.call("DELETE", f"/me/sessions/{rows[0]['id']}")) == "not_found"
    assert (await there.get("/me"))["id"] == made["id"]

    await here.call("DELETE", f"/me/sessions/{rows[0]['id']}")
    assert (await code_of_the_close(far), near.close_code) == (4001, None)
    assert await refusal(there.get("/me")) == "unauthenticated"
    assert await refusal(there.post("/auth/refresh", {"refresh_token": there.refresh_token})) == "unauthenticated"
    assert [row["id"] for row in (await here.get("/me/sessions"))["items"]] == [rows[1]["id"]]
    await near.request("ping")
    await near.close()


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test(timeout=30)
async def test_the_security_administrator_sees_and_ends_all_sessions_of_somebody(hospital):
    made, nurse = await new_member(hospital)
    line = await nurse.connect()
    guard = await officer(hospital, "security_admin")
    path = f"/admin/staff/{made['id']}/sessions"
    assert [row["method"] for row in (await guard.get(path))["items"]] == ["password"]
    await guard.call("DELETE", path)
    assert await code_of_the_close(line) == 4001
    assert (await guard.get(path))["items"] == []
    assert await refusal(nurse.get("/me")) == "unauthenticated"


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test(timeout=30)
async def test_a_locked_account_is_unlocked_and_a_forgotten_password_is_reset(hospital):
    made, _ = await new_member(hospital)
    for _ in range(5):
        await refusal(hospital.person().login_by_password(made["account"], "wrong-pass-1"))
    assert await refusal(hospital.person().login_by_password(made["account"], PASSWORD)) == "locked"
    guard, admin = await officer(hospital, "security_admin"), await officer(hospital, "admin", elevated=True)
    await guard.post(f"/admin/staff/{made['id']}/unlock")
    await hospital.person().login_by_password(made["account"], PASSWORD)
    told = await admin.post(f"/admin/staff/{made['id']}/password-reset", {})
    assert await refusal(hospital.person().login_by_password(made["account"], PASSWORD)) == "bad_credentials"
    await hospital.person().login_by_password(made["account"], told["initial_password"])


# --- departments and doctors ------------------------------------------------------------------------------------------


@pytest.mark.gen_test(timeout=30)
async def test_a_department_is_made_and_changed_and_the_public_sees_it_at_once(hospital):
    admin = await officer(hospital, "admin")
    wrong = {"code": "99.99", "name": "无此科目"}
    assert await refusal(admin.post("/admin/departments", wrong)) == "invalid"
    made = await admin.post("/admin/departments", {"code": "21", "name": "康复医学科"})
    path = f"/admin/departments/{made['id']}"
    changed = await admin.call("PATCH", path, {"name": "康复科", "order": 0})
    public = {one["id"]: one["name"] for one in (await hospital.person().get("/departments"))["items"]}
    assert public[made["id"]] == "康复科"
    assert "无此科目" not in public.values()
    steps = [(step["act"], step["from"], step["to"], step["actor"]) for step in changed["history"][1:]]
    assert steps[0] == ("change_name", "康复医学科", "康复科", admin.account["id"])


@pytest.mark.gen_test(timeout=30)
async def test_a_doctors_fees_and_services_change_within_bounds_and_patients_see_it_at_once(hospital):
    made, doctor = await new_member(hospital, "doctor", doctor=doctor_page())
    admin = await officer(hospital, "admin")
    path = f"/admin/doctors/{made['id']}"
    for wrong in ({"fees": {"consult": 50_001}}, {"title": "999"}, {"department_id": "nowhere"}):
        assert await refusal(admin.call("PATCH", path, wrong)) == "invalid"
    assert (await admin.get(path))["version"] == 1
    changed = await admin.call("PATCH", path, {"fees": {"consult": 2_500}, "version": 1})
    assert (await doctor.get(f"/doctors/{made['id']}"))["fees"] == {"consult": 2_500}
    step = changed["history"][-1]
    assert (step["act"], step["from"], step["to"]) == ("change_fees", '{"consult": 1500}', '{"consult": 2500}')
    assert await refusal(admin.call("PATCH", path, {"fees": {"consult": 1}, "version": 1})) == "conflict"


@pytest.mark.rule("R2-8")
@pytest.mark.gen_test(timeout=30)
async def test_a_doctor_whose_licence_is_set_to_have_run_out_goes_offline_and_the_office_reads_why(hospital):
    made, doctor = await new_member(hospital, "doctor", doctor=doctor_page())
    await hospital.ctx.doctors.set_online(made["id"], True, at=hospital.ctx.clock.now())
    admin = await officer(hospital, "admin")
    changed = await admin.call("PATCH", f"/admin/doctors/{made['id']}", {"licence_valid_to": "2020-01-01"})
    assert (changed["online"], [bar["code"] for bar in changed["bars"]]) == (False, ["licence_expired"])
    public = await doctor.get(f"/doctors/{made['id']}")
    assert (public["services"], public["online"], public["licence"]["valid"]) == ([], False, False)
    barred = await admin.get("/admin/doctors", offered="false")
    assert made["id"] in [one["id"] for one in barred["items"]]


@pytest.mark.gen_test(timeout=30)
async def test_a_doctors_account_without_a_page_is_given_one_later_and_only_once(hospital):
    made, _ = await new_member(hospital, "doctor")
    nurse, _ = await new_member(hospital)
    admin = await officer(hospital, "admin")
    assert await refusal(admin.get(f"/doctors/{made['id']}")) == "not_found"
    assert await refusal(admin.post("/admin/doctors", doctor_page(account_id=nurse["id"]))) == "not_found"
    await admin.post("/admin/doctors", doctor_page(account_id=made["id"]))
    assert (await admin.get(f"/doctors/{made['id']}"))["name"] == "沈知秋"
    assert await refusal(admin.post("/admin/doctors", doctor_page(account_id=made["id"]))) == "duplicate"


@pytest.mark.rule("R2-5")
@pytest.mark.gen_test(timeout=30)
async def test_the_public_page_shows_what_must_be_published_of_hospital_and_doctor(hospital):
    made, _ = await new_member(hospital, "doctor", doctor=doctor_page())
    anybody = hospital.person()
    house, page = await anybody.get("/hospital"), await anybody.get(f"/doctors/{made['id']}")
    assert all(house[name] for name in ("name", "licence_number", "licence_valid_to", "complaint_phone"))
    assert (page["name"], page["title"]["name"]) == ("沈知秋", "主治医师")
    assert page["licence"] == {
        "number": "999100*****0777",
        "scope": ["心血管内科专业"],
        "institution": "云帆市第一人民医院",
        "valid": True,
        "valid_to": "2040-12-31",
    }


# --- texts and numbers ------------------------------------------------------------------------------------------------


@pytest.mark.rule("R3-1")
@pytest.mark.gen_test(timeout=30)
async def test_a_consent_text_gets_a_new_version_and_the_old_one_stays_word_for_word(hospital):
    admin = await officer(hospital, "admin")
    old = await admin.get("/consent-texts/children")
    at = rfc3339(hospital.ctx.clock.now() + timedelta(days=400))
    form = {"kind": "children", "version": "9.0", "title": "儿童规则", "body": "新文本", "effective_from": at}
    made = await admin.post("/admin/consent-texts", form)
    assert made["hash"] == hashlib.sha256("新文本".encode()).hexdigest()
    assert await refusal(admin.post("/admin/consent-texts", {**form, "body": "改过的文本"})) == "duplicate"
    past = {**form, "version": "8.0", "effective_from": "2020-01-01T00:00:00Z"}
    assert await refusal(admin.post("/admin/consent-texts", past)) == "invalid"
    assert await admin.get("/consent-texts/children") == old  # not in force yet
    assert (await admin.get("/consent-texts/children", version="9.0"))["body"] == "新文本"
    rows = (await admin.get("/admin/consent-texts", kind="children"))["items"]
    assert [(row["version"], row["in_force"]) for row in rows] == [("9.0", False), (old["version"], True)]


@pytest.mark.gen_test(timeout=30)
async def test_a_number_changes_at_once_and_leaves_who_changed_it_and_goes_back(hospital):
    admin, auditor = await officer(hospital, "admin"), await officer(hospital, "auditor")
    try:
        table = await admin.call("PATCH", "/admin/settings", {"values": {"patients_per_account": 1}})
        row = next(one for one in table["items"] if one["name"] == "patients_per_account")
        assert (row["value"], row["source"], row["default"]) == (1, "office", 10)
        assert hospital.ctx.policy.patients_per_account == 1
    finally:
        await admin.call("PATCH", "/admin/settings", {"values": {"patients_per_account": None}})
    assert hospital.ctx.policy.patients_per_account == 10
    newest, before = (await auditor.get("/admin/settings/history", limit=2))["items"]
    assert (before["steps"], before["actor"]) == (
        [{"name": "patients_per_account", "from": None, "to": 1}],
        admin.account["id"],
    )
    assert newest["steps"] == [{"name": "patients_per_account", "from": 1, "to": None}]


@pytest.mark.rule("R5-1")
@pytest.mark.gen_test(timeout=30)
async def test_a_legal_bound_is_refused_by_the_name_of_its_rule_and_nothing_changes(hospital):
    admin = await officer(hospital, "admin")
    with pytest.raises(Refused) as refused:
        await admin.call("PATCH", "/admin/settings", {"values": {"retain_record_years": 14, "visits_per_hour": 7}})
    assert refused.value.body["errors"] == {
        "retain_record_years": ["须在 15 至 100 之间（R5-1：诊疗记录、同意与凭证自最后一次就诊起保存不少于15年）"]
    }
    assert (hospital.ctx.policy.retain_record_years, hospital.ctx.policy.visits_per_hour) == (15, 30)


@pytest.mark.gen_test(timeout=60)
async def test_a_doctor_made_by_the_office_is_found_and_asked_by_a_patient(hospital):
    made, _ = await new_member(hospital, "doctor", doctor=doctor_page(), name="云知微")
    stage = stage_of(hospital, doctor=made["account"])

    async def is_found():
        found = await stage.patient.get("/doctors", q="云知微")
        return [one["id"] for one in found["items"]] == [made["id"]]

    await until(is_found)


@pytest.mark.rule("R6-8")
@pytest.mark.gen_test(timeout=30)
async def test_narrower_bounds_of_fees_take_doctors_from_the_list_at_once(hospital):
    made, doctor = await new_member(hospital, "doctor", doctor=doctor_page())
    admin = await officer(hospital, "admin")
    try:
        await admin.call("PATCH", "/admin/settings", {"values": {"consult_fee_low": 1_501}})
        assert (await doctor.get(f"/doctors/{made['id']}"))["services"] == []
        barred = await admin.get(f"/admin/doctors/{made['id']}")
        assert [bar["code"] for bar in barred["bars"]] == ["no_fee"]
    finally:
        await admin.call("PATCH", "/admin/settings", {"values": {"consult_fee_low": None}})
    assert (await doctor.get(f"/doctors/{made['id']}"))["services"] == ["consult"]
