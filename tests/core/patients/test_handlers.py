import pytest

from core.ports import Unavailable, Verdict
from tests.core.partial import caller_of
from tests.core.patients.people import CHILD_BORN, form_of, guardian_of


async def added(api, caller, **changes) -> dict:
    answer = await api.call("POST", "/patients", form_of(**changes), caller=caller)
    assert answer.status == 201
    return answer.body


@pytest.mark.feature("P1.2")
@pytest.mark.gen_test
async def test_family_is_added_verified_edited_and_removed(api, caller):
    own = await added(api, caller, relation="self")
    child = await added(api, caller, born=CHILD_BORN, relation="child")
    assert (child["age"], child["guardian_required"], child["guardian"]) == (8, True, None)
    assert (own["verification"], own["guardian_required"]) == ({"state": "unverified", "at": None}, False)

    verified = await api.call("POST", f"/patients/{own['id']}/verify", caller=caller)
    assert (verified.status, verified.body["verification"]["state"]) == (200, "verified")

    edited = await api.call("PATCH", f"/patients/{own['id']}", {"phone": "13900005678", "version": 2}, caller=caller)
    assert (edited.status, edited.body["phone"], edited.body["version"]) == (200, "139****5678", 3)

    assert [one["id"] for one in (await api.get("/patients", caller=caller)).body["items"]] == [child["id"], own["id"]]
    assert (await api.call("DELETE", f"/patients/{child['id']}", caller=caller)).status == 204
    assert [one["id"] for one in (await api.get("/patients", caller=caller)).body["items"]] == [own["id"]]
    assert (await api.get(f"/patients/{child['id']}", caller=caller)).status == 404


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test
async def test_list_is_masked_and_does_not_give_the_birth_date_away(api, caller):
    form = form_of(id_number="11010519491231002X", gender="2", birth_date="1949-12-31")
    await api.call("POST", "/patients", form, caller=caller)
    [shown] = (await api.get("/patients", caller=caller)).body["items"]
    assert {name: shown.get(name) for name in ("name", "id_number", "phone", "birth_date", "age")} == {
        "name": "张*",
        "id_number": "110105********002X",
        "phone": "138****1234",
        "birth_date": None,
        "age": 76,
    }


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test
async def test_detail_shows_the_owner_the_name_and_masks_the_numbers(api, caller):
    child = await added(api, caller, born=CHILD_BORN)
    guardian = guardian_of()
    assert (await api.call("PUT", f"/patients/{child['id']}/guardian", guardian, caller=caller)).status == 200
    shown = (await api.get(f"/patients/{child['id']}", caller=caller)).body
    assert (shown["name"], shown["birth_date"], shown["phone"]) == ("张小三", "2018-06-01", "138****1234")
    assert shown["id_number"][6:14] == "********"
    number = guardian["id_number"]
    assert shown["guardian"] == {
        "name": "李四",
        "relation": "father",
        "id_type": "01",
        "id_number": f"{number[:6]}********{number[-4:]}",
        "phone": "138****1234",
        "verification": {"state": "verified", "at": "2026-11-02T04:00:00.000Z"},
    }


@pytest.mark.feature("P1.2")
@pytest.mark.gen_test
async def test_wrong_number_is_refused_naming_the_field(api, caller):
    refused = await api.call("POST", "/patients", form_of(id_number="412825199412252999"), caller=caller)
    assert (refused.status, refused.body["errors"]) == (422, {"id_number": ["身份证号校验位有误"]})
    assert (await api.get("/patients", caller=caller)).body == {"items": [], "next_cursor": None}


@pytest.mark.gen_test
async def test_same_number_twice_is_a_duplicate(api, caller):
    form = form_of()
    await api.call("POST", "/patients", form, caller=caller)
    refused = await api.call("POST", "/patients", form, caller=caller)
    assert (refused.status, refused.body["code"]) == (409, "duplicate")


@pytest.mark.rule("R2-1")
@pytest.mark.gen_test
async def test_denied_and_unanswered_checks_verify_nobody(api, caller, identity):
    patient = await added(api, caller)
    path = f"/patients/{patient['id']}"
    identity.fault = Unavailable()
    away = await api.call("POST", f"{path}/verify", caller=caller)
    assert (away.status, away.body["code"]) == (503, "unavailable")
    assert "Retry-After" in away.headers
    assert (await api.get(path, caller=caller)).body == patient
    identity.fault, identity.verdict = None, Verdict.MISMATCH
    denied = await api.call("POST", f"{path}/verify", caller=caller)
    assert (denied.status, denied.body["code"]) == (409, "verification_failed")
    assert (await api.get(path, caller=caller)).body["verification"]["state"] == "failed"


@pytest.mark.gen_test(timeout=20)
async def test_nobody_gets_to_try_many_names_for_a_number(api, ctx, caller, identity):
    identity.verdict = Verdict.NO_RECORD
    patient = await added(api, caller)
    for _ in range(ctx.policy.identity_checks_per_day):
        assert (await api.call("POST", f"/patients/{patient['id']}/verify", caller=caller)).status == 200
    refused = await api.call("POST", f"/patients/{patient['id']}/verify", caller=caller)
    assert (refused.status, refused.body["code"]) == (429, "rate_limited")
    assert len(identity.asked) == ctx.policy.identity_checks_per_day


@pytest.mark.gen_test
async def test_only_the_patient_s_own_account_comes_in(api, caller):
    patient = await added(api, caller)
    path = f"/patients/{patient['id']}"
    for method, path_, body in (
        ("GET", path, None),
        ("PATCH", path, {"phone": "13900005678"}),
        ("DELETE", path, None),
        ("POST", f"{path}/verify", None),
        ("PUT", f"{path}/guardian", guardian_of()),
    ):
        assert (await api.call(method, path_, body)).status == 401
        assert (await api.call(method, path_, body, caller=caller_of("doctor"))).status == 403
        assert (await api.call(method, path_, body, caller=caller_of())).status == 404
    assert (await api.get(path, caller=caller)).body == patient
    assert (await api.get("/patients", caller=caller_of())).body["items"] == []
