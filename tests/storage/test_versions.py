import asyncio

import pytest

from storage.versions import VersionRepository


@pytest.mark.gen_test
async def test_group_that_never_changed_is_at_zero(store):
    assert await VersionRepository(store).current("nothing") == 0


@pytest.mark.gen_test
async def test_every_increase_is_counted_in_its_own_group(store):
    versions = VersionRepository(store)
    await versions.increase("one")
    seen = await asyncio.gather(*(versions.increase("one") for _ in range(5)))
    assert (max(seen), await versions.current("one"), await versions.current("two")) == (6, 6, 0)
