"""The hooks that an upgrade of aiortc may break."""

import aiortc
import pytest

from rtc.guard import HOOKS, Hook, UnknownAiortc, require_known


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.what)
def test_the_installed_library_has(hook):
    assert hook.holds()


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.what)
def test_the_guard_sees_when_it_is_missing(hook):
    changed = Hook(hook.what, hook.function, (*hook.names, "something_of_the_next_version"))
    with pytest.raises(UnknownAiortc, match="cannot carry calls with this aiortc") as refusal:
        require_known(hooks=(changed,))
    assert hook.what in str(refusal.value)


def test_a_function_that_is_gone_is_a_difference():
    gone = Hook("it connects", lambda: aiortc.RTCPeerConnection.no_such_thing, ("a",))
    with pytest.raises(UnknownAiortc, match="it connects"):
        require_known(hooks=(gone,))


def test_another_version_is_refused_with_its_number():
    with pytest.raises(UnknownAiortc, match=r"version 1\.17\.0 is not 1\.16\.x"):
        require_known(version="1.17.0")


def test_the_installed_version_is_known():
    require_known()
