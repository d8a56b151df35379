from datetime import UTC, datetime

import pytest

from core.auth import authenticate
from core.ports import Rejected, Unavailable, WeChatTemplate
from rtc import invitations, service
from tests.core.consulting import under_way


class Carrier:
    """Keeps what was sent; `fault` is raised instead when set."""

    def __init__(self):
        self.sent = []
        self.fault = None

    async def send(self, phone, template, parameters, *, reference):
        if self.fault is not None:
            raise self.fault
        self.sent.append((phone, str(template), dict(parameters), reference))


class MiniProgram:
    """Takes messages for whoever has allowed one; `fault` is raised instead when set."""

    def __init__(self):
        self.sent = []
        self.fault = None

    async def send(self, openid, template, values, *, query):
        if self.fault is not None:
            raise self.fault
        self.sent.append((openid, template, dict(values), dict(query)))


PHONE = "19900071234"
OPENID = "o-absent"


@pytest.fixture
def sms(ctx):
    real, stand_in = ctx.sms, Carrier()
    object.__setattr__(ctx, "sms", stand_in)
    yield stand_in
    object.__setattr__(ctx, "sms", real)


@pytest.fixture
def wechat(ctx, case, io_loop):
    """The patient's mini-program, in which the account has an openid."""

    def set_openid(openid):
        return ctx.store.db["accounts"].update_one({"_id": case.patient.id}, {"$set": {"openid": openid}})

    real, stand_in = ctx.patient_messages, MiniProgram()
    io_loop.run_sync(lambda: set_openid(OPENID))
    object.__setattr__(ctx, "patient_messages", stand_in)
    yield stand_in
    object.__setattr__(ctx, "patient_messages", real)
    io_loop.run_sync(lambda: set_openid(None))


@pytest.fixture
def reachable(ctx, case, io_loop):
    """The patient's account has a phone."""

    def set_phone(sealed):
        return ctx.store.db["accounts"].update_one({"_id": case.patient.id}, {"$set": {"phone": sealed}})

    io_loop.run_sync(lambda: set_phone(ctx.cipher.seal(PHONE, field="accounts.phone")))
    yield
    io_loop.run_sync(lambda: set_phone(""))


@pytest.mark.feature("P1.9")
@pytest.mark.gen_test
async def test_an_absent_patient_gets_a_link_that_opens_the_call_without_a_login(calling, case, sms, reachable):
    call = await calling.ringing(case)
    await under_way()
    ((phone, template, said, reference),) = sms.sent
    assert (phone, template, reference) == (PHONE, "call_invitation", call["_id"])
    assert said["doctor"] == (await case.visit())["doctor_name"]
    address, _, ticket = said["link"].partition("#ticket=")
    assert address == f"{calling.ctx.public_url}/call"
    granted = await calling.house.person(case.patient).post("/auth/tickets/redeem", {"ticket": ticket})
    caller = await authenticate(calling.ctx, granted["access_token"])
    assert (caller.id, caller.scope, caller.call) == (case.patient.id, "call", call["_id"])


@pytest.mark.feature("P1.9")
@pytest.mark.gen_test
async def test_who_allowed_a_subscribe_message_gets_that_and_no_text_message(calling, case, sms, wechat, reachable):
    call = await calling.ringing(case)
    await under_way()
    ((openid, template, values, query),) = wechat.sent
    assert (openid, template, query["call"], sms.sent) == (OPENID, WeChatTemplate.CALL, call["_id"], [])
    assert values == dict(invitations.said(call["media"], call["created_at"])) | {"at": values["at"]}
    granted = await calling.house.person(case.patient).post("/auth/tickets/redeem", {"ticket": query["ticket"]})
    assert (await authenticate(calling.ctx, granted["access_token"])).call == call["_id"]


@pytest.mark.parametrize("fault", [Rejected("not_allowed"), Unavailable("silent")])
@pytest.mark.gen_test
async def test_where_it_may_not_have_arrived_a_text_message_follows(calling, case, sms, wechat, reachable, fault):
    wechat.fault = fault
    call = await calling.ringing(case)
    await under_way()
    assert [(template, reference) for _, template, _, reference in sms.sent] == [("call_invitation", call["_id"])]


def test_the_subscribe_message_says_what_rings_and_when_in_places_that_wechat_takes():
    words = invitations.said("audio", datetime(2026, 5, 4, 9, 0, tzinfo=UTC))
    assert words == {"matter": "医生邀请您语音通话", "hint": "请立即点击接听", "at": "2026-05-04 17:00"}
    assert invitations.said("video", datetime(2026, 5, 4, 9, 0, tzinfo=UTC))["matter"] == "医生邀请您视频通话"
    assert all(len(word) <= 20 for word in words.values())


@pytest.mark.gen_test
async def test_a_patient_with_a_socket_open_gets_none(calling, case, sms, reachable):
    await calling.ctx.bus.present(case.patient.id)
    await calling.ringing(case)
    await under_way()
    await calling.ctx.bus.absent(case.patient.id)
    assert sms.sent == []


@pytest.mark.gen_test
async def test_without_a_phone_or_a_carrier_the_call_rings_on(calling, case, sms):
    call = await calling.ringing(case)
    await under_way()
    assert (sms.sent, (await calling.stored(call["_id"]))["duties"]) == ([], [])
    assert (await calling.stored(call["_id"]))["status"] == "ringing"


@pytest.mark.gen_test
async def test_a_carrier_that_is_away_is_not_asked_again_and_the_call_rings_on(calling, case, sms, reachable):
    sms.fault = Unavailable("away")
    call = await calling.ringing(case)
    await under_way()
    stored = await calling.stored(call["_id"])
    assert (stored["status"], stored["duties"]) == ("ringing", [])


@pytest.mark.gen_test
async def test_a_call_that_no_longer_rings_sends_nothing(calling, case, sms, reachable):
    call = await calling.ringing(case)
    await under_way()
    sms.sent.clear()
    await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="cancel")
    await invitations.invite_absent(calling.ctx, await calling.stored(call["_id"]))
    assert sms.sent == []
