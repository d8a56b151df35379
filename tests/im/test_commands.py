"""The table of ops."""

import pytest

from core.auth import ROLES
from core.errors import CODES, Invalid
from im.commands import COMMANDS


def test_every_op_of_the_protocol_but_calls_is_in_the_table():
    assert set(COMMANDS) == {"ping", "sync", "message.send", "message.recall", "message.read", "typing"}


@pytest.mark.parametrize("op", COMMANDS)
def test_every_op_names_roles_that_exist_and_documented_refusals(op):
    command = COMMANDS[op]
    assert command.roles
    assert command.roles <= set(ROLES)
    assert set(command.errors) <= set(CODES)
    assert command.summary


@pytest.mark.parametrize("op", COMMANDS)
def test_every_op_refuses_an_unknown_argument(op):
    with pytest.raises(Invalid):
        COMMANDS[op].load({"unknown": 1})


def test_only_ping_is_open_to_a_token_bound_to_a_call():
    assert [op for op, command in COMMANDS.items() if command.call_scope] == ["ping"]
