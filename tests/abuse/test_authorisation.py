"""Every route and every op, asked by everybody: each gets what the table says, and a refusal changes nothing."""

import asyncio

import pytest

from app.wiring import COMMANDS
from core.auth import ANYONE
from core.ids import new_id
from scripts.acting import Line, Refused
from tests.abuse.admission import EVERYBODY, LOGGED_IN, OK, OPS, PROOF, ROUTES
from tests.abuse.doors import doors_of, served, sign_at

READING = ("GET", "HEAD")


def test_every_method_of_every_route_is_in_the_table():
    asked = set().union(*map(doors_of, ROUTES))
    assert served() - asked == set()


def test_every_row_of_the_table_knocks_at_one_door_that_is_there():
    assert [row.asked for row in ROUTES if len(doors_of(row)) != 1] == []


def test_every_op_is_in_the_table_and_no_other():
    assert {row.path for row in OPS} == set(COMMANDS)


@pytest.mark.rule("R6-4")
def test_every_door_that_says_it_asks_for_a_fresh_proof_asks_for_it_and_no_other():
    """The dangerous acts; docs/operations.md lists them for people."""
    asking = set().union(*(doors_of(row) for row in ROUTES if PROOF in row.answers.values()))
    signs = {door: sign_at(door) for door in served()}
    assert asking == {door for door, sign in signs.items() if sign is not None and PROOF in sign.errors}


@pytest.mark.rule("R6-3")
@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize("row", [*ROUTES, *OPS], ids=lambda row: row.asked)
async def test_everybody_gets_what_the_table_says_and_a_refusal_changes_nothing(subjects, row):
    refused = [who for who in EVERYBODY if row.answers[who] != OK]
    before = await subjects.digest() if refused and row.method not in READING else None
    got = {who: await subjects.ask(row, who) for who in refused}
    if before is not None:
        after = await subjects.digest()
        assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} == set()
    got |= {who: await subjects.ask(row, who) for who in EVERYBODY if who not in refused}
    assert got == row.answers


@pytest.mark.gen_test(timeout=60)
async def test_a_token_that_is_bound_to_one_call_opens_no_other_door(subjects):
    """It travels in a link of a text message, and whoever holds the phone holds it."""
    ctx, before = subjects.house.ctx, await subjects.digest()
    for who in ("owner", "doctor"):
        caller = subjects.callers[who]
        claims = {"account": caller.id, "role": caller.role, "audience": caller.audience, "session": caller.session}
        token = ctx.tokens.issue(**claims, epoch=0, now=ctx.clock.now(), seconds=60, scope="call", call=new_id())
        closed = [row for row in ROUTES if is_closed_to_calls(row)]
        assert len(closed) > 60
        assert {await subjects.ask(row, who, token) for row in closed} == {"forbidden"}
        line = await Line.open(subjects.chat)
        await line.request("hello", token=token, device="called")
        for row in OPS:
            if not COMMANDS[row.path].call_scope:
                with pytest.raises(Refused) as refused:
                    await line.request(row.path, **subjects.fill(row.body))
                assert (row.path, refused.value.code) == (row.path, "forbidden")
        await line.close()
    assert await subjects.digest() == before


def is_closed_to_calls(row):
    """Behind the sign on the door stands somebody's role, and not a call."""
    [door] = doors_of(row)
    sign = sign_at(door)
    return sign is not None and sign.roles != ANYONE and not sign.call_scope


@pytest.mark.gen_test(timeout=30)
async def test_a_hello_takes_everybody_with_a_token_and_nobody_without(subjects):
    for who in LOGGED_IN:
        line = await Line.open(subjects.chat)
        assert (await line.request("hello", token=subjects.people[who].token, device="d"))["session"]
        await line.close()
    line = await Line.open(subjects.chat)
    with pytest.raises(Refused) as refused:
        await line.request("hello", token="none", device="d")
    await asyncio.wait_for(line.closed.wait(), 10)
    assert (refused.value.code, line.close_code) == ("unauthenticated", 4001)
    await line.close()
