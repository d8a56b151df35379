from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.auth import ROLES
from core.errors import CODES, Invalid, TooLarge
from rtc.commands import COMMANDS, EVENTS


def test_every_op_and_event_of_calls_in_the_protocol_is_in_the_tables():
    ops = ("invite", "accept", "decline", "cancel", "hangup", "offer", "candidates", "state", "stats")
    assert set(COMMANDS) == {f"call.{op}" for op in ops}
    assert set(EVENTS) == {"call.ringing", "call.state", "call.quality"}


@pytest.mark.parametrize("op", COMMANDS)
def test_every_op_names_roles_and_documented_refusals_and_takes_no_unknown_argument(op):
    command = COMMANDS[op]
    assert command.roles
    assert command.roles <= set(ROLES)
    assert set(command.errors) <= set(CODES)
    with pytest.raises(Invalid):
        command.load({"unknown": 1})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
NAMES = sorted({name for command in COMMANDS.values() for name in command.args.fields})


@given(op=st.sampled_from(sorted(COMMANDS)), args=st.dictionaries(st.sampled_from(NAMES) | st.text(), ANYTHING))
@settings(max_examples=300, deadline=None, database=None)
def test_whatever_is_said_is_taken_or_refused_by_a_documented_code(op, args):
    with suppress(Invalid, TooLarge):
        assert COMMANDS[op].load(args).keys() >= COMMANDS[op].args.fields.keys()


def test_a_token_of_a_call_may_do_everything_in_it_but_call_somebody():
    assert [op for op, command in COMMANDS.items() if not command.call_scope] == ["call.invite"]


def test_only_doctors_invite_and_cancel_and_only_patients_answer_and_decline():
    roles = {op: sorted(command.roles) for op, command in COMMANDS.items() if len(command.roles) == 1}
    assert roles == {
        "call.invite": ["doctor"],
        "call.cancel": ["doctor"],
        "call.accept": ["patient"],
        "call.decline": ["patient"],
    }
