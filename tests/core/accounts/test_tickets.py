import asyncio

import pytest

from core.accounts import service, sessions, tickets
from core.auth import authenticate
from core.errors import Invalid, NotFound, Unauthenticated


@pytest.fixture
def caller(io_loop, ctx, patient):
    async def made():
        entered = await sessions.start(ctx, patient, "sms")
        return await authenticate(ctx, entered["access_token"]), entered

    return io_loop.run_sync(made)


async def _issue(ctx, caller) -> str:
    issued = await tickets.issue(ctx, caller=caller, purpose="web_view", call=None)
    assert issued["expires_in"] == 60
    return issued["ticket"]


@pytest.mark.gen_test
async def test_a_ticket_carries_the_session_into_a_web_view_once(ctx, caller):
    caller, _ = caller
    ticket = await _issue(ctx, caller)
    granted = await tickets.redeem(ctx, ticket)
    assert set(granted) == {"access_token", "expires_in"}
    assert await authenticate(ctx, granted["access_token"]) == caller
    with pytest.raises(Unauthenticated):
        await tickets.redeem(ctx, ticket)


@pytest.mark.gen_test
async def test_of_simultaneous_redeemers_one_gets_in(ctx, caller):
    ticket = await _issue(ctx, caller[0])
    said = await asyncio.gather(*(tickets.redeem(ctx, ticket) for _ in range(5)), return_exceptions=True)
    assert [isinstance(one, Unauthenticated) for one in said].count(False) == 1


@pytest.mark.gen_test
async def test_a_ticket_is_stored_as_a_digest_and_forgotten_in_a_minute(ctx, caller, redis):
    ticket = await _issue(ctx, caller[0])
    (key,) = await redis.keys("ticket:*")
    assert ticket.encode() not in key
    assert 59 <= await redis.ttl(key) <= 60


@pytest.mark.gen_test
async def test_a_ticket_of_an_ended_session_opens_nothing(ctx, caller):
    caller, entered = caller
    ticket = await _issue(ctx, caller)
    await sessions.log_out(ctx, entered["refresh_token"])
    with pytest.raises(Unauthenticated):
        await tickets.redeem(ctx, ticket)


@pytest.mark.gen_test
async def test_a_ticket_of_a_disabled_account_opens_nothing(ctx, caller):
    ticket = await _issue(ctx, caller[0])
    await service.disable(ctx, caller[0].id)
    with pytest.raises(Unauthenticated):
        await tickets.redeem(ctx, ticket)


@pytest.mark.gen_test
async def test_a_made_up_ticket_opens_nothing(ctx):
    with pytest.raises(Unauthenticated):
        await tickets.redeem(ctx, "made-up")


@pytest.mark.gen_test
async def test_there_is_no_ticket_for_a_call_that_is_not_there(ctx, caller, redis):
    with pytest.raises(NotFound):
        await tickets.issue(ctx, caller=caller[0], purpose="call", call="01J0000000000000000000000A")
    assert await redis.keys("ticket:*") == []


@pytest.mark.parametrize(("purpose", "call"), [("call", None), ("web_view", "01J0000000000000000000000A")])
@pytest.mark.gen_test
async def test_only_a_call_ticket_names_a_call(ctx, caller, redis, purpose, call):
    with pytest.raises(Invalid) as refusal:
        await tickets.issue(ctx, caller=caller[0], purpose=purpose, call=call)
    assert list(refusal.value.errors) == ["call"]
    assert await redis.keys("ticket:*") == []


# --- tickets to a call ----------------------------------------------------------------------------------

CALL = "01J0000000000000000000000A"


@pytest.fixture
def call(live_calls, patient):
    """A live call of the patient's."""
    live_calls.members[CALL] = {patient["_id"]}
    return CALL


@pytest.mark.gen_test
async def test_a_ticket_to_a_call_opens_that_call_alone_for_as_long_as_the_longest(ctx, caller, call):
    issued = await tickets.issue(ctx, caller=caller[0], purpose="call", call=call)
    granted = await tickets.redeem(ctx, issued["ticket"])
    opened = await authenticate(ctx, granted["access_token"])
    assert (opened.id, opened.scope, opened.call) == (caller[0].id, "call", call)
    assert granted["expires_in"] == ctx.policy.call_longest_seconds
    with pytest.raises(Unauthenticated):
        await tickets.redeem(ctx, issued["ticket"])


@pytest.mark.gen_test
async def test_another_persons_call_has_no_ticket(ctx, caller, live_calls):
    live_calls.members[CALL] = {"somebody else"}
    with pytest.raises(NotFound):
        await tickets.issue(ctx, caller=caller[0], purpose="call", call=CALL)


@pytest.mark.gen_test
async def test_a_ticket_is_dead_after_the_call(ctx, caller, call, live_calls):
    issued = await tickets.issue(ctx, caller=caller[0], purpose="call", call=call)
    minted = await tickets.mint_for_call(ctx, account_id=caller[0].id, call=call, seconds=45)
    live_calls.members.clear()
    for ticket in (issued["ticket"], minted):
        with pytest.raises(Unauthenticated):
            await tickets.redeem(ctx, ticket)


@pytest.mark.gen_test
async def test_who_is_called_needs_no_login_for_the_ticket_that_was_minted(ctx, patient, call, redis):
    minted = await tickets.mint_for_call(ctx, account_id=patient["_id"], call=call, seconds=45)
    (key,) = await redis.keys("ticket:*")
    assert 44 <= await redis.ttl(key) <= 45
    granted = await tickets.redeem(ctx, minted)
    assert (await authenticate(ctx, granted["access_token"])).call == call


@pytest.mark.gen_test
async def test_a_minted_ticket_of_a_disabled_account_opens_nothing(ctx, patient, call):
    minted = await tickets.mint_for_call(ctx, account_id=patient["_id"], call=call, seconds=45)
    await service.disable(ctx, patient["_id"])
    with pytest.raises(Unauthenticated):
        await tickets.redeem(ctx, minted)
    with pytest.raises(NotFound):
        await tickets.mint_for_call(ctx, account_id="nobody", call=call, seconds=45)


@pytest.mark.gen_test
async def test_with_the_call_its_tokens_end_and_no_other(ctx, caller, call, revoked):
    minted = await tickets.mint_for_call(ctx, account_id=caller[0].id, call=call, seconds=45)
    granted = await tickets.redeem(ctx, minted)
    await tickets.close_call(ctx, account_id=caller[0].id, call=call)
    with pytest.raises(Unauthenticated):
        await authenticate(ctx, granted["access_token"])
    assert (await authenticate(ctx, caller[1]["access_token"])).scope == "full"
    assert revoked == [sessions.call_session(call)]
