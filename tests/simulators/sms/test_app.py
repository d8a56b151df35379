import httpx
import pytest

from core.ports import Rejected, SmsTemplate
from integrations.sms import SmsConfig, TemplateForm, TencentSms
from integrations.tencent_cloud import Credentials, TencentCloud
from simulators.sms import make_app
from tests.simulators.serving import serve

PHONE = "13800000001"
CODE = {"code": "123456", "minutes": "5"}


@pytest.fixture
def simulator(io_loop, tmp_path):
    with serve(make_app, tmp_path, io_loop) as served:
        yield served


@pytest.fixture
def sms(io_loop, simulator):
    keys = simulator.keys
    sender = TencentSms(
        SmsConfig(
            credentials=Credentials(keys["secret_id"], keys["secret_key"]),
            app_id=keys["sms_app_id"],
            sign_name=keys["sign_name"],
            templates={SmsTemplate.LOGIN_CODE: TemplateForm("1000001", ("code", "minutes"))},
            endpoint=simulator.url,
        ),
        now=simulator.clock.now,
    )
    io_loop.run_sync(sender.start)
    yield sender
    io_loop.run_sync(sender.close)


async def arrived(simulator, phone=PHONE) -> int:
    answer = await simulator.request("GET", "/_control/sms", params={"phone": phone})
    return answer.json()["count"] if answer.is_success else 0


async def send(sms, phone=PHONE):
    """The carrier's refusal, None when the message went out."""
    try:
        await sms.send(phone, SmsTemplate.LOGIN_CODE, CODE, reference="r")
    except Rejected as refused:
        return refused.code


@pytest.mark.gen_test
async def test_number_without_messages_is_not_found(simulator):
    answer = await simulator.request("GET", "/_control/sms", params={"phone": PHONE})
    assert (answer.status_code, answer.json()) == (httpx.codes.NOT_FOUND, {"error": "no message to this number"})


@pytest.mark.gen_test
async def test_limits_are_off_until_they_are_switched_on(sms, simulator):
    assert [await send(sms) for _ in range(3)] == [None] * 3
    await simulator.control("limits", enabled=True)
    assert await send(sms) == "LimitExceeded.PhoneNumberThirtySecondLimit"
    assert await send(sms, "13800000002") is None
    assert await arrived(simulator) == 3


@pytest.mark.gen_test
async def test_limits_of_half_a_minute_an_hour_and_a_day(sms, simulator):
    await simulator.control("limits", enabled=True)
    refusals = []
    for _ in range(11):
        refusals.append(await send(sms))
        simulator.clock.step(31)
    hour = "LimitExceeded.PhoneNumberOneHourLimit"
    assert refusals == [None] * 5 + [hour] * 6
    simulator.clock.step(3600)
    for _ in range(5):
        assert await send(sms) is None
        simulator.clock.step(721)
    assert await send(sms) == "LimitExceeded.PhoneNumberDailyLimit"
    simulator.clock.step(86400)
    assert await send(sms) is None
    assert await arrived(simulator) == 1


@pytest.mark.gen_test
async def test_last_message_outlives_a_restart(sms, simulator, io_loop, tmp_path):
    await send(sms)
    application = make_app(tmp_path / "state", tmp_path / "keys")
    assert application.settings["store"].latest("message", PHONE)["code"] == "123456"
    assert application.settings["keys"] == simulator.keys
    await application.settings["stop"]()


ASKED = {
    "PhoneNumberSet": [f"+86{PHONE}"],
    "SmsSdkAppId": "1400000000",
    "SignName": "示例互联网医院",
    "TemplateId": "1000001",
    "TemplateParamSet": ["123456", "5"],
}


@pytest.fixture
def cloud(io_loop, simulator):
    keys = Credentials(simulator.keys["secret_id"], simulator.keys["secret_key"])
    client = TencentCloud(simulator.url, keys, service="sms", version="2021-01-11", region="ap-guangzhou")
    io_loop.run_sync(client.start)
    yield client
    io_loop.run_sync(client.close)


@pytest.mark.gen_test
async def test_each_number_has_a_status_of_its_own(cloud, simulator):
    asked = {**ASKED, "PhoneNumberSet": ["+8613800000001", "123"], "SessionContext": "ours"}
    good, bad = (await cloud.call("SendSms", asked))["SendStatusSet"]
    assert good.pop("SerialNo").startswith("2433:")
    assert good == {
        "PhoneNumber": "+8613800000001",
        "Fee": 1,
        "SessionContext": "ours",
        "Code": "Ok",
        "Message": "send success",
        "IsoCode": "CN",
    }
    assert (bad["Code"], bad["Fee"], bad["SerialNo"]) == ("InvalidParameterValue.IncorrectPhoneNumber", 0, "")
    assert await arrived(simulator) == 1


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"SignName": "别家"}, "FailedOperation.SignatureIncorrectOrUnapproved"),
        ({"TemplateId": "1"}, "FailedOperation.TemplateIncorrectOrUnapproved"),
        ({"TemplateParamSet": ["123456"]}, "FailedOperation.TemplateIncorrectOrUnapproved"),
        ({"TemplateParamSet": [123456, 5]}, "InvalidParameterValue.TemplateParameterFormatError"),
    ],
)
async def test_message_that_was_not_filed_is_refused_in_its_status(cloud, simulator, changed, code):
    (status,) = (await cloud.call("SendSms", ASKED | changed))["SendStatusSet"]
    assert status["Code"] == code
    assert await arrived(simulator) == 0


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"PhoneNumberSet": []}, "InvalidParameter"),
        ({"SmsSdkAppId": ""}, "MissingParameter"),
        ({"SmsSdkAppId": "1400000001"}, "UnauthorizedOperation.SmsSdkAppIdVerifyFail"),
        ({"SessionContext": "长" * 171}, "InvalidParameterValue.SessionContextLimit"),
    ],
)
async def test_call_that_is_wrong_as_a_whole_is_an_error(cloud, simulator, changed, code):
    with pytest.raises(Rejected) as refused:
        await cloud.call("SendSms", ASKED | changed)
    assert refused.value.code == code
    assert await arrived(simulator) == 0


@pytest.mark.gen_test
async def test_messages_of_one_template_can_be_asked_for(sms, simulator):
    await send(sms)
    other = await simulator.request("GET", "/_control/sms", params={"phone": PHONE, "template": "patient_notice"})
    code = await simulator.request("GET", "/_control/sms", params={"phone": PHONE, "template": "login_code"})
    assert other.status_code == httpx.codes.NOT_FOUND
    assert (code.json()["code"], code.json()["count"]) == ("123456", 1)
