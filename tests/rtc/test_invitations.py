import pytest

from core.auth import authenticate
from core.ports import Unavailable
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


PHONE = "19900071234"


@pytest.fixture
def sms(ctx):
    real, stand_in = ctx.sms, Carrier()
    object.__setattr__(ctx, "sms", stand_in)
    yield stand_in
    object.__setattr__(ctx, "sms", real)


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
