"""Every route and every op, asked by everybody: each gets what the table says, and a refusal changes nothing."""

import asyncio

import pytest

from im.commands import COMMANDS
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
