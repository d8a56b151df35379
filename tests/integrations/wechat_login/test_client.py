import asyncio
import logging

import pytest
from structlog.testing import capture_logs

from core.ports import Rejected, Unavailable, WeChatUser
from integrations.wechat_login import MemoryTokenCache
from simulators.wechat_login.state import openid_of, unionid_of

PHONE = "13800000001"
TOKEN_PATH = "/cgi-bin/stable_token"
PHONE_PATH = "/wxa/business/getuserphonenumber"


async def calls(wechat):
    return (await wechat.request("GET", "/_control/calls")).json()


@pytest.mark.gen_test
async def test_login_code_is_redeemed_for_the_user(client, wechat):
    codes = await wechat.control("codes", phone=PHONE, app="patient")
    user = await client.user(codes["login_code"])
    assert user == WeChatUser(openid=codes["openid"], unionid=unionid_of(PHONE))


@pytest.mark.gen_test
async def test_each_mini_program_knows_the_person_by_its_own_openid(client_of, wechat):
    patient, staff = await client_of("patient"), await client_of("staff")
    as_patient = await patient.user((await wechat.control("codes", phone=PHONE))["login_code"])
    as_staff = await staff.user((await wechat.control("codes", phone=PHONE))["login_code"])
    assert as_patient.openid == openid_of("wx00000000000demo1", PHONE)
    assert as_staff.openid == openid_of("wx00000000000demo2", PHONE)
    assert as_patient.unionid == as_staff.unionid


@pytest.mark.gen_test
async def test_login_code_is_rejected_the_second_time(client, wechat):
    code = (await wechat.control("codes", phone=PHONE))["login_code"]
    await client.user(code)
    with pytest.raises(Rejected, match="40163") as refused:
        await client.user(code)
    assert refused.value.code == "invalid_code"


@pytest.mark.gen_test
async def test_false_empty_and_foreign_login_codes_are_rejected(client, wechat):
    of_staff = (await wechat.control("codes", phone=PHONE, app="staff"))["login_code"]
    for code in ("false", "", of_staff):
        with pytest.raises(Rejected) as refused:
            await client.user(code)
        assert refused.value.code == "invalid_code"


@pytest.mark.gen_test
async def test_login_code_of_five_minutes_ago_is_rejected(client, wechat):
    code = (await wechat.control("codes", phone=PHONE))["login_code"]
    wechat.clock.step(301)
    with pytest.raises(Rejected, match="40029"):
        await client.user(code)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("errcode", "error", "says"),
    [
        (-1, Unavailable, "-1"),
        (45011, Unavailable, "45011"),
        (40226, Rejected, "blocked_user"),
        (48001, Rejected, "errcode_48001"),
    ],
)
async def test_busy_is_unavailable_and_a_no_is_rejected(client, wechat, errcode, error, says):
    code = (await wechat.control("codes", phone=PHONE))["login_code"]
    await wechat.control("faults", fault="error", code=errcode, times=1)
    with pytest.raises(error, match=says):
        await client.user(code)
    assert (await client.user(code)).unionid == unionid_of(PHONE)


@pytest.mark.gen_test
@pytest.mark.parametrize("fault", ["timeout", "down"])
async def test_silence_is_unavailable_and_is_not_tried_again(client_of, wechat, fault):
    client = await client_of(timeout=0.3)
    await wechat.control("faults", fault=fault)
    with pytest.raises(Unavailable) as gone:
        await client.user("any")
    assert wechat.keys["patient"]["secret"] not in str(gone.value)
    assert gone.value.__cause__ is None
    assert await calls(wechat) == {"/sns/jscode2session": 1}


@pytest.mark.gen_test
async def test_false_secret_is_rejected(client_of, wechat):
    client = await client_of(secret="another")
    with pytest.raises(Rejected, match="errcode_40125"):
        await client.user((await wechat.control("codes", phone=PHONE))["login_code"])
    with pytest.raises(Rejected, match="errcode_40125"):
        await client.phone("any")


@pytest.mark.gen_test
async def test_phone_code_is_redeemed_once(client, wechat):
    code = (await wechat.control("codes", phone=PHONE))["phone_code"]
    assert await client.phone(code) == PHONE
    with pytest.raises(Rejected) as refused:
        await client.phone(code)
    assert refused.value.code == "invalid_code"


@pytest.mark.gen_test
async def test_login_code_is_no_phone_code(client, wechat):
    codes = await wechat.control("codes", phone=PHONE)
    with pytest.raises(Rejected):
        await client.phone(codes["login_code"])
    with pytest.raises(Rejected):
        await client.user(codes["phone_code"])


@pytest.mark.gen_test
@pytest.mark.parametrize(("number", "country"), [("61234567", "852"), (PHONE, "1"), ("10000", "86")])
async def test_number_that_is_not_mainland_is_rejected(client, wechat, number, country):
    code = (await wechat.control("codes", phone=number, country_code=country))["phone_code"]
    with pytest.raises(Rejected) as refused:
        await client.phone(code)
    assert refused.value.code == "not_mainland_number"


@pytest.mark.gen_test
async def test_token_is_fetched_once_for_many_at_the_same_time(client, wechat):
    codes = [(await wechat.control("codes", phone=PHONE))["phone_code"] for _ in range(8)]
    assert await asyncio.gather(*map(client.phone, codes)) == [PHONE] * 8
    assert await calls(wechat) == {TOKEN_PATH: 1, PHONE_PATH: 8}


@pytest.mark.gen_test
async def test_refused_token_is_refreshed_once_for_many_at_the_same_time(client, wechat):
    codes = [(await wechat.control("codes", phone=PHONE))["phone_code"] for _ in range(16)]
    await asyncio.gather(*map(client.phone, codes[:8]))  # opens a connection for each, so that the next go side by side
    await wechat.control("tokens/revoke", app="patient")
    assert await asyncio.gather(*map(client.phone, codes[8:])) == [PHONE] * 8
    assert (await calls(wechat))[TOKEN_PATH] == 2


@pytest.mark.gen_test
async def test_token_that_expired_early_is_refreshed(client, wechat):
    await client.phone((await wechat.control("codes", phone=PHONE))["phone_code"])
    wechat.clock.step(7201)  # the cache of the client, on real time, still holds the token: WeChat answers 42001
    assert await client.phone((await wechat.control("codes", phone=PHONE))["phone_code"]) == PHONE
    assert await calls(wechat) == {TOKEN_PATH: 2, PHONE_PATH: 3}


@pytest.mark.gen_test
async def test_token_that_wechat_refuses_yet_hands_out_is_replaced_by_force_once(client, wechat):
    codes = [(await wechat.control("codes", phone=PHONE))["phone_code"] for _ in range(4)]
    await client.phone(codes.pop())
    await wechat.control("tokens/revoke", app="patient", still_handed_out=True)
    assert await client.phone(codes.pop()) == PHONE
    assert (await calls(wechat))[TOKEN_PATH] == 3
    # Again at once: the day's forced refreshes are spared, and the code stays good for later.
    await wechat.control("tokens/revoke", app="patient", still_handed_out=True)
    with pytest.raises(Unavailable, match="the new token was refused"):
        await client.phone(codes[-1])
    assert (await calls(wechat))[TOKEN_PATH] == 4
    await wechat.control("tokens/revoke", app="patient")
    assert await client.phone(codes.pop()) == PHONE


@pytest.mark.gen_test
async def test_processes_that_share_a_cache_share_the_token(client_of, wechat):
    shared = MemoryTokenCache()
    one, two = await client_of(tokens=shared), await client_of(tokens=shared)
    staff = await client_of("staff", tokens=shared)
    codes = [(await wechat.control("codes", phone=PHONE))["phone_code"] for _ in range(3)]
    assert await asyncio.gather(one.phone(codes[0]), two.phone(codes[1])) == [PHONE] * 2
    assert (await calls(wechat))[TOKEN_PATH] == 1
    assert await staff.phone(codes[2]) == PHONE  # the other mini-program has a token of its own
    assert (await calls(wechat))[TOKEN_PATH] == 2


@pytest.mark.gen_test
async def test_no_log_holds_secret_token_code_or_phone(client_of, wechat, caplog):
    caplog.set_level(logging.INFO)
    tokens = MemoryTokenCache()
    client = await client_of(tokens=tokens)
    codes = await wechat.control("codes", phone=PHONE)
    caplog.clear()
    with capture_logs() as lines:
        await client.user(codes["login_code"])
        await client.phone(codes["phone_code"])
    token = await tokens.get("wechat:wx00000000000demo1:token")
    ours = [record for record in caplog.records if not record.name.startswith("tornado")]  # the simulator's own
    said = repr(lines) + repr([record.getMessage() for record in ours])
    for secret in (wechat.keys["patient"]["secret"], token, codes["login_code"], codes["phone_code"], PHONE):
        assert secret is not None
        assert secret not in said
    assert [(line["action"], line["status"], line["code"]) for line in lines] == [
        ("/sns/jscode2session", 200, None),
        (TOKEN_PATH, 200, None),
        (PHONE_PATH, 200, 0),
    ]


@pytest.mark.gen_test
async def test_client_whose_calls_are_closed_is_unavailable(client):
    await client._calls.close()
    with pytest.raises(Unavailable, match="not started"):
        await client.user("any")
