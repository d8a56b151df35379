import os
import signal

import pytest

from scripts.bootstrap import CannotStart
from scripts.launch import answers
from scripts.roles import load_accounts, open_roles


@pytest.mark.timeout(180)
@pytest.mark.gen_test(timeout=170)
async def test_every_part_can_be_killed_and_is_found_again_where_it_was(monkeypatch):
    monkeypatch.setenv("MONGO_URI", "mongodb://somebody.else/")
    async with open_roles({"chat": "im"}, LOG_LEVEL="error") as roles:
        assert roles.names == ["chat", "mongo", "redis"]
        assert await answers(roles.ports["chat"])
        lines = await load_accounts(roles.env, patients=2, doctors=1)
        assert [line["role"] for line in lines] == ["patient", "patient", "doctor"]
        before = {name: roles.pid(name) for name in roles.names}
        for name in roles.names:
            await roles.kill(name)
        assert not await answers(roles.ports["chat"])
        assert [roles.pid(name) for name in roles.names] == [None] * 3
        for name in ("mongo", "redis", "chat"):
            await roles.revive(name)
        after = {name: roles.pid(name) for name in roles.names}
        assert await answers(roles.ports["chat"])
        assert not set(before.values()) & set(after.values())
        last = after["chat"]
    with pytest.raises(ProcessLookupError):
        os.kill(last, signal.SIGTERM)


@pytest.mark.gen_test(timeout=60)
async def test_accounts_that_cannot_be_made_are_one_line():
    with pytest.raises(CannotStart, match="no accounts were made: "):
        await load_accounts({"PATH": os.environ["PATH"]}, patients=1, doctors=1)
