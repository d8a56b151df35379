import pytest

from core.media import rules
from core.media.intake import Intake
from core.media.jobs import PERIODIC, collect_orphans
from tests.core.media import making
from tests.core.media.conftest import NOTHING, left_in, upload


async def left_unfinished(ctx) -> str:
    """An upload whose process died."""
    coming = Intake(ctx, owner="owner", declared="")
    await coming.take(making.a_jpeg() + bytes(600_000))
    (document,) = await ctx.store.db["media"].find({"status": "uploading"}).to_list(None)
    return document["_id"]


@pytest.mark.gen_test
async def test_an_unfinished_upload_is_taken_away_when_its_time_is_over(ctx):
    await left_unfinished(ctx)
    ctx.clock.step(ctx.policy.media_orphan_seconds)
    assert await collect_orphans(ctx) == 0
    assert (await left_in(ctx))["files.chunks"] == 2
    ctx.clock.step(0.001)
    assert await collect_orphans(ctx) == 1
    assert await left_in(ctx) == NOTHING | {"media": 1}
    ctx.clock.step(ctx.policy.media_orphan_seconds)
    assert await collect_orphans(ctx) == 0
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_what_a_slow_writer_added_after_the_first_pass_goes_with_the_second(ctx):
    media_id = await left_unfinished(ctx)
    ctx.clock.step(ctx.policy.media_orphan_seconds + 1)
    await collect_orphans(ctx)
    writer = await ctx.files.open_upload(rules.file_of(media_id, "original"), at=ctx.clock.now())
    await writer.write(bytes(1000))
    await writer.finish()
    ctx.clock.step(ctx.policy.media_orphan_seconds)
    await collect_orphans(ctx)
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_a_ready_medium_stays(ctx):
    media = await upload(ctx, making.a_jpeg())
    ctx.clock.step(10 * ctx.policy.media_orphan_seconds)
    assert await collect_orphans(ctx) == 0
    assert await ctx.media.get(media["_id"]) == media
    assert (await left_in(ctx))["files.files"] == 2


def test_the_worker_is_told_to_sweep_every_ten_minutes():
    ((seconds, run),) = PERIODIC
    assert (seconds, run) == (600, collect_orphans)
