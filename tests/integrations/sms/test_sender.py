from datetime import UTC, datetime, timedelta

import httpx
import pytest

from core.ports import Rejected, SmsTemplate, Unavailable
from integrations.sms import SmsConfig, TemplateForm, TencentSms
from integrations.tencent_cloud import Credentials
from simulators.sms import make_app
from tests.simulators.serving import serve

PHONE = "13800000001"
CODE = {"minutes": "5", "code": "123456"}


@pytest.fixture
def carrier(io_loop, tmp_path):
    with serve(make_app, tmp_path, io_loop) as served:
        yield served


def config(carrier, **changes):
    keys = carrier.keys
    form = keys["templates"]["login_code"]
    given = {
        "credentials": Credentials(keys["secret_id"], keys["secret_key"]),
        "app_id": keys["sms_app_id"],
        "sign_name": keys["sign_name"],
        "templates": {SmsTemplate.LOGIN_CODE: TemplateForm(form["id"], tuple(form["parameters"]))},
        "endpoint": carrier.url,
    }
    return SmsConfig(**(given | changes))


@pytest.fixture
def sender_with(io_loop, carrier):
    """Makes a started sender from a changed configuration."""
    made = []

    async def make(*, now=None, **changes):
        clock = {} if now is None else {"now": now}
        made.append(TencentSms(config(carrier, **changes), **clock))
        await made[-1].start()
        return made[-1]

    yield make
    for sender in made:
        io_loop.run_sync(sender.close)


@pytest.fixture
def sms(io_loop, sender_with):
    return io_loop.run_sync(sender_with)


async def inbox(carrier):
    return await carrier.request("GET", "/_control/sms", params={"phone": PHONE})


async def nothing_arrived(carrier) -> bool:
    return (await inbox(carrier)).status_code == httpx.codes.NOT_FOUND


@pytest.mark.gen_test
async def test_message_arrives_with_its_values_in_their_places(sms, carrier):
    await sms.send(PHONE, SmsTemplate.LOGIN_CODE, CODE, reference="01J0000000000000000000SMS1")
    message = (await inbox(carrier)).json()
    assert message.pop("sent_at") == carrier.clock.now().isoformat(timespec="milliseconds")
    assert message == {
        "template": "login_code",
        "template_id": "1000001",
        "parameters": {"code": "123456", "minutes": "5"},
        "code": "123456",
        "reference": "01J0000000000000000000SMS1",
        "count": 1,
    }


@pytest.mark.gen_test
@pytest.mark.parametrize("code", ["LimitExceeded.PhoneNumberDailyLimit", "FailedOperation.PhoneNumberInBlacklist"])
async def test_status_that_is_not_ok_is_rejected_with_its_code(sms, carrier, code):
    await carrier.control("faults", fault="reject", code=code)
    with pytest.raises(Rejected) as refused:
        await sms.send(PHONE, SmsTemplate.LOGIN_CODE, CODE, reference="r")
    assert refused.value.code == code
    assert await nothing_arrived(carrier)


@pytest.mark.gen_test
@pytest.mark.parametrize("fault", ["reject", "error"])
async def test_internal_error_is_unavailable(sms, carrier, fault):
    await carrier.control("faults", fault=fault, code="InternalError.OtherError")
    with pytest.raises(Unavailable, match=r"InternalError\.OtherError"):
        await sms.send(PHONE, SmsTemplate.LOGIN_CODE, CODE, reference="r")
    assert await nothing_arrived(carrier)


@pytest.mark.gen_test
@pytest.mark.parametrize("fault", ["timeout", "down"])
async def test_silence_is_unavailable_and_is_not_tried_again(sender_with, carrier, fault):
    sms = await sender_with(timeout=0.3)
    await carrier.control("faults", fault=fault, times=1)
    with pytest.raises(Unavailable):
        await sms.send(PHONE, SmsTemplate.LOGIN_CODE, CODE, reference="r")
    assert (await carrier.request("GET", "/_control/faults")).json() == {"fault": None}
    assert await nothing_arrived(carrier)


@pytest.mark.gen_test
async def test_false_key_is_rejected(sender_with, carrier):
    sms = await sender_with(credentials=Credentials(carrier.keys["secret_id"], "another-key"))
    with pytest.raises(Rejected, match=r"AuthFailure\.SignatureFailure"):
        await sms.send(PHONE, SmsTemplate.LOGIN_CODE, CODE, reference="r")
    assert await nothing_arrived(carrier)


@pytest.mark.gen_test
@pytest.mark.parametrize("seconds", [-330, 330])
async def test_clock_that_is_over_five_minutes_off_is_for_now(sender_with, carrier, seconds):
    sms = await sender_with(now=lambda: datetime.now(UTC) + timedelta(seconds=seconds))
    with pytest.raises(Unavailable, match=r"AuthFailure\.SignatureExpire"):
        await sms.send(PHONE, SmsTemplate.LOGIN_CODE, CODE, reference="r")
    assert await nothing_arrived(carrier)


@pytest.mark.gen_test
async def test_signature_name_that_was_not_filed_is_rejected(sender_with, carrier):
    sms = await sender_with(sign_name="别家医院")
    with pytest.raises(Rejected, match=r"FailedOperation\.SignatureIncorrectOrUnapproved"):
        await sms.send(PHONE, SmsTemplate.LOGIN_CODE, CODE, reference="r")
    assert await nothing_arrived(carrier)


@pytest.mark.gen_test
@pytest.mark.parametrize("parameters", [{"code": "123456"}, CODE | {"name": "x"}])
async def test_parameters_of_another_template_are_refused_before_sending(sms, carrier, parameters):
    with pytest.raises(ValueError, match="takes"):
        await sms.send(PHONE, SmsTemplate.LOGIN_CODE, parameters, reference="r")
    assert await nothing_arrived(carrier)
