from datetime import timedelta

import pytest

from core.backoffice import consent_texts
from core.directory import service as directory
from core.errors import Conflict, Invalid
from tests.core.partial import NOW, caller_of

ADMIN = caller_of("admin", "office")


async def publish(ctx, version, **given):
    form = {"kind": "children", "title": "儿童规则", "body": f"文本 {version}", "effective_from": None} | given
    return await consent_texts.publish(ctx, caller=ADMIN, version=version, **form)


async def versions(ctx, kind=None):
    return [(one["version"], one["in_force"]) for one in await consent_texts.every(ctx, kind)]


@pytest.mark.rule("R3-1")
@pytest.mark.gen_test
async def test_a_new_version_takes_over_at_its_time_and_the_old_one_stays(ctx):
    first = await publish(ctx, "1")
    await publish(ctx, "2", effective_from=NOW + timedelta(hours=1))
    assert await versions(ctx) == [("2", False), ("1", True)]
    ctx.clock.step(3_600)
    assert await versions(ctx) == [("2", True), ("1", False)]
    assert await directory.consent_text(ctx, "children", "1") == first
    assert (first["created_by"], first["hash"]) == ("office", directory.hash_of("文本 1"))


@pytest.mark.rule("R3-1")
@pytest.mark.gen_test
async def test_a_version_is_never_written_twice_nor_into_the_past(ctx):
    first = await publish(ctx, "1")
    with pytest.raises(Conflict) as refused:
        await publish(ctx, "1", body="改过")
    assert refused.value.code == "duplicate"
    with pytest.raises(Invalid):
        await publish(ctx, "2", effective_from=NOW - timedelta(seconds=1))
    assert await ctx.consent_texts.every() == [first]


@pytest.mark.gen_test
async def test_texts_are_listed_by_kind(ctx):
    await publish(ctx, "1")
    await publish(ctx, "1", kind="sensitive_data")
    assert await versions(ctx, "sensitive_data") == [("1", True)]
    assert len(await versions(ctx)) == 2
