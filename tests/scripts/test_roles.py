import asyncio
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
        assert (await answers(roles.ports["chat"]), roles.database) == (True, "internet_hospital")
        before = {name: roles.pid(name) for name in roles.names}
        await asyncio.gather(*(roles.kill(name) for name in roles.names))
        assert [roles.pid(name) for name in roles.names] == [None] * 3
        assert not await answers(roles.ports["chat"])
        # Whoever comes back before the stores starts again until they are there.
        await asyncio.gather(*(roles.revive(name) for name in roles.names))
        after = {name: roles.pid(name) for name in roles.names}
        assert await answers(roles.ports["chat"])
        assert not set(before.values()) & set(after.values())
        lines = await load_accounts(roles.env, patients=2, doctors=1)
        assert [line["role"] for line in lines] == ["patient", "patient", "doctor"]
    with pytest.raises(ProcessLookupError):
        os.kill(after["chat"], signal.SIGTERM)


@pytest.mark.gen_test(timeout=60)
async def test_accounts_that_cannot_be_made_are_one_line():
    with pytest.raises(CannotStart, match="no accounts were made: "):
        await load_accounts({"PATH": os.environ["PATH"]}, patients=1, doctors=1)
