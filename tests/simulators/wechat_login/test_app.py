import json

import pytest

from simulators.wechat_login import make_app
from simulators.wechat_login.state import openid_of
from tests.simulators.serving import serve

PHONE = "13800000001"


@pytest.fixture
def simulator(io_loop, tmp_path):
    with serve(make_app, tmp_path, io_loop) as served:
        yield served


async def session(simulator, code, app="patient", **changes):
    keys = simulator.keys[app]
    query = {"appid": keys["appid"], "secret": keys["secret"], "js_code": code, "grant_type": "authorization_code"}
    answer = await simulator.request("GET", "/sns/jscode2session", params=query | changes)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain")
    return json.loads(answer.text)


async def token(simulator, app="patient", **changes):
    body = {"grant_type": "client_credential", **simulator.keys[app], "force_refresh": False} | changes
    return (await simulator.request("POST", "/cgi-bin/stable_token", json=body)).json()


async def phone(simulator, access_token, code):
    query = {"access_token": access_token}
    return (
        await simulator.request("POST", "/wxa/business/getuserphonenumber", params=query, json={"code": code})
    ).json()


def test_keys_are_two_fictitious_mini_programs(simulator):
    assert {name: app["appid"] for name, app in simulator.keys.items()} == {
        "patient": "wx00000000000demo1",
        "staff": "wx00000000000demo2",
    }
    assert all(len(app["secret"]) == 32 and app["secret"].startswith("demo") for app in simulator.keys.values())


@pytest.mark.gen_test
async def test_session_has_the_true_form(simulator):
    codes = await simulator.control("codes", phone=PHONE)
    answer = await session(simulator, codes["login_code"])
    assert codes["openid"] is None
    assert set(answer) == {"session_key", "openid", "unionid"}
    assert answer["openid"] == openid_of("wx00000000000demo1", PHONE)


@pytest.mark.gen_test
async def test_openid_may_be_given(simulator):
    codes = await simulator.control("codes", phone=PHONE, openid="o-given")
    assert codes["openid"] == "o-given"
    assert (await session(simulator, codes["login_code"]))["openid"] == "o-given"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"appid": "wx0"}, 40013),
        ({"secret": "another"}, 40125),
        ({"grant_type": "x"}, 40002),
        ({"js_code": ""}, 41008),
        ({"js_code": "false"}, 40029),
    ],
)
async def test_session_is_refused_and_the_code_stays_good(simulator, changes, errcode):
    code = (await simulator.control("codes", phone=PHONE))["login_code"]
    refused = await session(simulator, code, **changes)
    assert (refused["errcode"], set(refused)) == (errcode, {"errcode", "errmsg"})
    assert "openid" in await session(simulator, code)


@pytest.mark.gen_test
async def test_phone_number_has_the_true_form(simulator):
    access = (await token(simulator, "staff"))["access_token"]
    codes = await simulator.control("codes", phone=PHONE)
    assert await phone(simulator, access, codes["phone_code"]) == {
        "errcode": 0,
        "errmsg": "ok",
        "phone_info": {
            "phoneNumber": PHONE,
            "purePhoneNumber": PHONE,
            "countryCode": "86",
            "watermark": {"timestamp": int(simulator.clock.now().timestamp()), "appid": "wx00000000000demo2"},
        },
    }


@pytest.mark.gen_test
async def test_phone_number_is_refused_and_the_code_stays_good(simulator):
    code = (await simulator.control("codes", phone=PHONE))["phone_code"]
    access = (await token(simulator))["access_token"]
    assert (await phone(simulator, "", code))["errcode"] == 41001
    assert (await phone(simulator, "false", code))["errcode"] == 40001
    assert (await phone(simulator, access, "false"))["errcode"] == 40029
    assert (await phone(simulator, access, None))["errcode"] == 40029
    assert (await phone(simulator, access, code))["errcode"] == 0


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("changes", "errcode"), [({"appid": "wx0"}, 40013), ({"secret": "x"}, 40125), ({"grant_type": "x"}, 40002)]
)
async def test_token_is_refused_to_strangers(simulator, changes, errcode):
    assert (await token(simulator, **changes))["errcode"] == errcode


@pytest.mark.gen_test
async def test_token_call_without_json_is_refused(simulator):
    answer = await simulator.request("POST", "/cgi-bin/stable_token", content=b"x")
    assert answer.json()["errcode"] == 47001


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"phone": 1},
        {"phone": PHONE, "app": "office"},
        {"phone": PHONE, "country_code": "x"},
        {"phone": PHONE, "openid": 1},
    ],
)
async def test_codes_of_nobody_are_refused(simulator, body):
    assert (await simulator.request("POST", "/_control/codes", json=body)).status_code == 400


@pytest.mark.gen_test
async def test_token_of_no_mini_program_is_not_revoked(simulator):
    assert (await simulator.request("POST", "/_control/tokens/revoke", json={"app": "x"})).status_code == 400


@pytest.mark.gen_test
async def test_codes_and_tokens_outlive_a_restart(simulator, io_loop, tmp_path):
    codes = await simulator.control("codes", phone=PHONE)
    access = (await token(simulator))["access_token"]
    again = make_app(tmp_path / "state", tmp_path / "keys")
    assert again.settings["keys"] == simulator.keys
    assert again.settings["tokens"].appid_of(access) == "wx00000000000demo1"
    assert again.settings["codes"].redeem("login", codes["login_code"], "wx00000000000demo1")["phone"] == PHONE
    await again.settings["stop"]()
    assert (await session(simulator, codes["login_code"]))["errcode"] == 40163
