import hashlib
import json
from datetime import UTC, datetime

import pytest

from simulators.identity import make_app
from simulators.tencent_cloud import read_keys, signature
from tests.simulators.serving import serve

BODY = json.dumps({"Name": "张三", "IdCard": "11010519491231002X"}).encode()


@pytest.fixture
def simulator(io_loop, tmp_path):
    with serve(make_app, tmp_path, io_loop) as served:
        yield served


def headers(simulator, *, body=BODY, service="faceid", names=("content-type", "host"), key=None, age=0):
    """A truly signed call, or one with the named thing wrong; `age` in seconds."""
    moment = int(simulator.clock.now().timestamp()) - age
    date = f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"
    sent = {"content-type": "application/json", "host": simulator.url.removeprefix("http://")}
    lines = "".join(f"{name}:{sent[name]}\n" for name in names)
    signed = signature(
        key or simulator.keys["secret_key"],
        date=date,
        service=service,
        timestamp=str(moment),
        canonical=f"POST\n/\n\n{lines}\n{';'.join(names)}\n{hashlib.sha256(body).hexdigest()}",
    )
    credential = f"{simulator.keys['secret_id']}/{date}/{service}/tc3_request"
    return sent | {
        "Authorization": (
            f"TC3-HMAC-SHA256 Credential={credential}, SignedHeaders={';'.join(names)}, Signature={signed}"
        ),
        "X-TC-Timestamp": str(moment),
        "X-TC-Version": "2018-03-01",
        "X-TC-Action": "IdCardVerification",
    }


async def error(simulator, sent, body=BODY):
    answer = await simulator.request("POST", "/", content=body, headers=sent)
    assert answer.status_code == 200
    return answer.json()["Response"].get("Error", {}).get("Code")


def test_signature_is_the_one_of_the_vendors_example():
    """The example of the vendor's document "Signature v3"."""
    payload = rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}'
    canonical = (
        "POST\n/\n\ncontent-type:application/json; charset=utf-8\nhost:cvm.tencentcloudapi.com\n\n"
        f"content-type;host\n{hashlib.sha256(payload).hexdigest()}"
    )
    signed = signature(
        "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE",
        date="2019-02-25",
        service="cvm",
        timestamp="1551113065",
        canonical=canonical,
    )
    assert signed == "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"


def test_keys_are_made_once_and_are_visibly_fictitious(tmp_path):
    keys = read_keys(tmp_path)
    assert keys == read_keys(tmp_path)
    assert (len(keys["secret_id"]), len(keys["secret_key"])) == (36, 32)
    assert "demo" in keys["secret_id"]
    assert keys["secret_key"].startswith("demo")
    assert keys["templates"] == {
        "login_code": {"id": "1000001", "parameters": ["code", "minutes"]},
        "patient_notice": {"id": "1000002", "parameters": []},
        "staff_notice": {"id": "1000003", "parameters": []},
        "call_invitation": {"id": "1000004", "parameters": ["doctor", "link"]},
    }


@pytest.mark.gen_test
async def test_true_call_is_answered(simulator):
    assert await error(simulator, headers(simulator)) is None
    assert await error(simulator, headers(simulator, age=299)) is None


@pytest.mark.gen_test
async def test_false_signatures_are_refused(simulator):
    refused = "AuthFailure.SignatureFailure"
    assert await error(simulator, headers(simulator, key="another")) == refused
    assert await error(simulator, headers(simulator, service="sms")) == refused
    assert await error(simulator, headers(simulator, names=("host",))) == refused
    assert await error(simulator, headers(simulator), body=BODY + b" ") == refused


@pytest.mark.gen_test
@pytest.mark.parametrize("age", [301, -301])
async def test_call_of_another_time_is_refused(simulator, age):
    assert await error(simulator, headers(simulator, age=age)) == "AuthFailure.SignatureExpire"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Authorization": ""}, "AuthFailure.InvalidAuthorization"),
        ({"X-TC-Timestamp": "now"}, "InvalidParameter"),
        ({"X-TC-Version": "2020-01-01"}, "NoSuchVersion"),
        ({"X-TC-Action": "PhoneVerification"}, "InvalidAction"),
    ],
)
async def test_header_that_is_not_known_is_refused(simulator, changed, code):
    assert await error(simulator, headers(simulator) | changed) == code


@pytest.mark.gen_test
async def test_unknown_secret_id_is_refused(simulator):
    sent = headers(simulator)
    sent["Authorization"] = sent["Authorization"].replace(simulator.keys["secret_id"], "AKIDother")
    assert await error(simulator, sent) == "AuthFailure.SecretIdNotFound"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"not json", "InvalidParameter"),
        (b"[]", "InvalidParameter"),
        (b'{"IdCard": "11010519491231002X"}', "MissingParameter"),
        (b'{"IdCard": 1, "Name": "x"}', "InvalidParameter"),
    ],
)
async def test_body_that_is_not_the_actions_is_refused(simulator, body, code):
    assert await error(simulator, headers(simulator, body=body), body=body) == code
