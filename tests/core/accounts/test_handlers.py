import asyncio
import io
import json
import logging
from dataclasses import replace

import pyotp
import pytest
import structlog

from core.accounts import second_factor
from core.accounts.handlers import ROUTES
from core.http import sign_of
from core.ports import Unavailable
from storage.limits import RateLimiter
from storage.login_codes import LoginCodes
from storage.redis import connect
from tests.core.accounts.conftest import PASSWORD


async def _by_sms(api, sms, phone, audience="patient"):
    asked = await api.post("/auth/sms-codes", {"phone": phone, "purpose": "login"})
    assert (asked.status, asked.body) == (202, None)
    body = {"audience": audience, "method": "sms", "phone": phone, "code": sms.last_code(phone)}
    return await api.post("/auth/login", body)


def _by_password(api, account, password=PASSWORD):
    return api.post(
        "/auth/login", {"audience": "staff", "method": "password", "account": account, "password": password}
    )


def _shown(account, phone):
    """A doctor as login and /me show them."""
    return {
        "id": account["_id"],
        "role": "doctor",
        "audience": "staff",
        "name": "林静",
        "phone": f"{phone[:3]}****{phone[-4:]}",
        "account": account["login"],
    }


async def _is_in(api, entered, shown):
    assert entered.status == 200
    assert set(entered.body) == {"access_token", "expires_in", "refresh_token", "account"}
    assert (entered.body["expires_in"], entered.body["account"]) == (900, shown)
    seen = await api.get("/me", token=entered.body["access_token"])
    assert (seen.status, seen.body) == (200, shown)


@pytest.mark.feature("D1.1")
@pytest.mark.gen_test
async def test_a_doctor_comes_in_by_code_by_password_and_by_the_phone_number_of_wechat(
    api, sms, wechat_staff, doctor, phone
):
    shown = _shown(doctor, phone)
    await _is_in(api, await _by_sms(api, sms, phone, "staff"), shown)
    await _is_in(api, await _by_password(api, doctor["login"]), shown)
    pressed = {"audience": "staff", "method": "wechat", **wechat_staff.press("o-d", phone)}
    await _is_in(api, await api.post("/auth/login", pressed), shown)


@pytest.mark.feature("D1.1")
@pytest.mark.gen_test
async def test_a_doctor_is_locked_out_after_five_wrong_passwords(api, ctx, doctor):
    for _ in range(5):
        refused = await _by_password(api, doctor["login"], "wrong-1")
        assert (refused.status, refused.body["code"]) == (401, "bad_credentials")
    refused = await _by_password(api, doctor["login"])
    assert (refused.status, refused.body["code"]) == (403, "locked")
    assert 890 <= int(refused.headers["Retry-After"]) <= 901
    assert await ctx.sessions.of_account(doctor["_id"]) == []


@pytest.mark.feature("D1.1")
@pytest.mark.gen_test(timeout=20)
async def test_an_address_that_tries_too_often_is_told_to_wait(api, doctor):
    body = {"audience": "staff", "method": "sms", "phone": "13000000001", "code": "000000"}
    said = [(await api.post("/auth/login", body)).status for _ in range(60)]
    assert set(said) == {401}
    refused = await _by_password(api, doctor["login"])
    assert (refused.status, refused.body["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 61


@pytest.mark.feature("D1.1")
@pytest.mark.gen_test
async def test_a_doctor_with_a_second_factor_comes_in_by_two_steps(api, ctx, doctor, phone):
    totp = pyotp.TOTP(await second_factor.set_up(ctx, doctor["_id"]))
    first = await _by_password(api, doctor["login"])
    assert (first.status, set(first.body), set(first.body["mfa"])) == (200, {"mfa"}, {"ticket"})
    proof = {"ticket": first.body["mfa"]["ticket"], "code": totp.at(ctx.clock.now())}
    await _is_in(api, await api.post("/auth/mfa", proof), _shown(doctor, phone))
    again = await api.post("/auth/mfa", proof)
    assert (again.status, again.body["code"]) == (401, "bad_credentials")


@pytest.mark.gen_test
async def test_asking_for_a_code_is_answered_alike_for_known_and_unknown_phones(api, sms, doctor, phone):
    known = await api.post("/auth/sms-codes", {"phone": phone, "purpose": "login"})
    unknown = await api.post("/auth/sms-codes", {"phone": "13000000002", "purpose": "login"})
    assert (known.status, known.body) == (unknown.status, unknown.body) == (202, None)
    assert set(known.headers) == set(unknown.headers)
    assert [to for to, _ in sms.sent] == [phone, "13000000002"]


@pytest.mark.gen_test
async def test_a_second_code_within_a_minute_is_refused_with_the_seconds_to_wait(api, sms, phone):
    body = {"phone": phone, "purpose": "login"}
    await api.post("/auth/sms-codes", body)
    refused = await api.post("/auth/sms-codes", body)
    assert (refused.status, refused.body["code"]) == (429, "rate_limited")
    assert 59 <= int(refused.headers["Retry-After"]) <= 61
    assert len(sms.sent) == 1


@pytest.mark.gen_test(timeout=20)
async def test_an_address_gets_sixty_codes_an_hour(api, sms):
    for n in range(60):
        asked = await api.post("/auth/sms-codes", {"phone": f"131{n:08d}", "purpose": "login"})
        assert asked.status == 202
    refused = await api.post("/auth/sms-codes", {"phone": "13200000000", "purpose": "login"})
    assert (refused.status, refused.body["code"]) == (429, "rate_limited")
    assert len(sms.sent) == 60


@pytest.mark.gen_test
async def test_with_the_carrier_away_a_code_may_be_asked_for_again(api, sms, phone):
    sms.fault = Unavailable()
    refused = await api.post("/auth/sms-codes", {"phone": phone, "purpose": "login"})
    assert (refused.status, refused.body["code"]) == (503, "unavailable")
    assert "Retry-After" in refused.headers
    sms.fault = None
    assert (await _by_sms(api, sms, phone)).status == 200


@pytest.mark.gen_test
async def test_with_redis_away_codes_and_logins_refuse_with_503_and_nothing_is_sent(ctx, api_of, sms, doctor):
    away = connect("redis://127.0.0.1:1")
    limiter = RateLimiter("redis://127.0.0.1:1")
    api = api_of(replace(ctx, login_codes=LoginCodes(away), limiter=limiter))
    for refused in (
        await api.post("/auth/sms-codes", {"phone": "13000000003", "purpose": "login"}),
        await _by_password(api, doctor["login"]),
    ):
        assert (refused.status, refused.body["code"]) == (503, "unavailable")
        assert "Retry-After" in refused.headers
    assert sms.sent == []
    assert await ctx.sessions.of_account(doctor["_id"]) == []
    await asyncio.gather(away.aclose(), limiter.close())


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("/auth/sms-codes", {"phone": "123", "purpose": "login"}, {"phone"}),
        ("/auth/sms-codes", {"phone": "13800001111"}, {"purpose"}),
        ("/auth/login", {"audience": "patient", "method": "sms", "phone": "13800001111"}, {"code"}),
        ("/auth/login", {"audience": "patient", "method": "password", "account": "a", "password": "b"}, {"method"}),
        ("/auth/refresh", {}, {"refresh_token"}),
        ("/auth/logout", {"refresh_token": "x", "everywhere": True}, {"everywhere"}),
        ("/auth/mfa", {"ticket": "x", "code": "abc"}, {"code"}),
        ("/auth/tickets/redeem", {"ticket": 5}, {"ticket"}),
    ],
)
@pytest.mark.gen_test
async def test_a_body_of_another_form_names_its_fields(api, sms, path, body, fields):
    refused = await api.post(path, body)
    assert (refused.status, refused.body["code"], set(refused.body["errors"])) == (422, "invalid", fields)
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert sms.sent == []


@pytest.mark.gen_test
async def test_tokens_are_renewed_once_and_reuse_shuts_the_session(api, sms, phone):
    entered = (await _by_sms(api, sms, phone)).body
    renewed = await api.post("/auth/refresh", {"refresh_token": entered["refresh_token"]})
    assert renewed.status == 200
    assert renewed.body["account"] == entered["account"]
    reused = await api.post("/auth/refresh", {"refresh_token": entered["refresh_token"]})
    assert (reused.status, reused.body["code"]) == (401, "token_reused")
    shut = await api.get("/me", token=renewed.body["access_token"])
    assert (shut.status, shut.body["code"]) == (401, "unauthenticated")


@pytest.mark.gen_test
async def test_of_two_renewals_at_once_one_is_answered(api, sms, phone):
    entered = (await _by_sms(api, sms, phone)).body
    said = await asyncio.gather(
        *(api.post("/auth/refresh", {"refresh_token": entered["refresh_token"]}) for _ in range(2))
    )
    assert sorted(one.status for one in said) == [200, 401]


@pytest.mark.gen_test
async def test_logout_ends_the_session_at_once(api, sms, phone, revoked):
    entered = (await _by_sms(api, sms, phone)).body
    out = await api.post("/auth/logout", {"refresh_token": entered["refresh_token"]})
    assert (out.status, out.body) == (204, None)
    assert (await api.get("/me", token=entered["access_token"])).status == 401
    assert len(revoked) == 1
    assert (await api.post("/auth/logout", {"refresh_token": "made-up"})).status == 204


@pytest.mark.gen_test
async def test_a_ticket_opens_the_web_view_for_the_same_account(api, sms, phone):
    entered = (await _by_sms(api, sms, phone)).body
    issued = await api.post("/auth/tickets", {"purpose": "web_view"}, token=entered["access_token"])
    assert (issued.status, issued.body["expires_in"]) == (200, 60)
    redeemed = await api.post("/auth/tickets/redeem", {"ticket": issued.body["ticket"]})
    assert (redeemed.status, set(redeemed.body), redeemed.body["expires_in"]) == (
        200,
        {"access_token", "expires_in"},
        900,
    )
    assert (await api.get("/me", token=redeemed.body["access_token"])).body == entered["account"]
    again = await api.post("/auth/tickets/redeem", {"ticket": issued.body["ticket"]})
    assert (again.status, again.body["code"]) == (401, "unauthenticated")


@pytest.mark.gen_test
async def test_a_ticket_for_an_unknown_call_is_not_found(api, sms, phone):
    entered = (await _by_sms(api, sms, phone)).body
    refused = await api.post("/auth/tickets", {"purpose": "call", "call": "c1"}, token=entered["access_token"])
    assert (refused.status, refused.body["code"]) == (404, "not_found")


@pytest.mark.gen_test
async def test_a_patient_says_a_name(api, sms, phone):
    entered = (await _by_sms(api, sms, phone)).body
    changed = await api.call("PATCH", "/me", {"name": "王小明"}, token=entered["access_token"])
    assert (changed.status, changed.body) == (200, entered["account"] | {"name": "王小明"})
    assert (await api.get("/me", token=entered["access_token"])).body == changed.body


@pytest.mark.gen_test
async def test_staff_do_not_rename_themselves(api, doctor, phone):
    entered = (await _by_password(api, doctor["login"])).body
    refused = await api.call("PATCH", "/me", {"name": "院长"}, token=entered["access_token"])
    assert (refused.status, refused.body["code"]) == (403, "forbidden")
    assert (await api.get("/me", token=entered["access_token"])).body == _shown(doctor, phone)


@pytest.mark.parametrize(("method", "path"), [("GET", "/me"), ("PATCH", "/me"), ("POST", "/auth/tickets")])
@pytest.mark.gen_test
async def test_without_a_login_these_doors_stay_shut(api, method, path):
    refused = await api.call(method, path, None if method == "GET" else {})
    assert (refused.status, refused.body["code"]) == (401, "unauthenticated")


def test_every_door_has_its_sign():
    methods = ("get", "post", "put", "patch", "delete")
    for _, handler in ROUTES:
        assert [method for method in methods if method in vars(handler)] == [
            method for method in methods if sign_of(handler, method) is not None
        ]


@pytest.mark.gen_test
async def test_the_log_has_no_phone_code_password_name_or_token(ctx, api, sms, wechat, doctor, phone, caplog):
    caplog.set_level(logging.INFO)
    with structlog.testing.capture_logs() as said:
        entered = (await _by_sms(api, sms, phone)).body
        wrong = await api.post(
            "/auth/login", {"audience": "patient", "method": "sms", "phone": phone, "code": sms.last_code(phone)}
        )
        await _by_password(api, doctor["login"], "wrong-secret-1")
        pressed = wechat.press("o-log", phone)
        await api.post("/auth/login", {"audience": "patient", "method": "wechat", **pressed})
        await api.post("/auth/login", {"audience": "patient", "method": "wechat", **pressed})
        issued = (await api.post("/auth/tickets", {"purpose": "web_view"}, token=entered["access_token"])).body
        await api.post("/auth/tickets/redeem", {"ticket": issued["ticket"]})
        renewed = (await api.post("/auth/refresh", {"refresh_token": entered["refresh_token"]})).body
        await api.post("/auth/refresh", {"refresh_token": entered["refresh_token"]})
        await api.post("/auth/logout", {"refresh_token": renewed["refresh_token"]})
        await api.call("PATCH", "/me", {"name": "王小明"}, token=entered["access_token"])
        sms.fault = Unavailable()
        await api.post("/auth/sms-codes", {"phone": "13300000000", "purpose": "bind"})
    assert wrong.status == 401
    assert {"code.sent", "code.not_sent", "session.started", "session.ended", "login.refused", "http.request"} <= {
        one["event"] for one in said
    }
    written = io.StringIO()
    for line in (*said, *(record.getMessage() for record in caplog.records)):
        written.write(json.dumps(line, default=str, ensure_ascii=False))
    secrets = [
        phone,
        "13300000000",
        f'"{sms.last_code(phone)}"',
        PASSWORD,
        "wrong-secret-1",
        "林静",
        "王小明",
        doctor["login"],
        "o-log",
        *pressed.values(),
        issued["ticket"],
        *(token for one in (entered, renewed) for token in (one["access_token"], one["refresh_token"])),
    ]
    assert [secret for secret in secrets if secret in written.getvalue()] == []
