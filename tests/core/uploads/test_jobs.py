import pytest
from structlog.testing import capture_logs

from core.media.jobs import collect_orphans
from core.uploads import service
from core.uploads.jobs import PERIODIC, collect_expired, examine_received
from tests.core.uploads.resuming import NOTHING_LEFT, a_document, left_of_uploads

OWNER = "owner"


async def left_unfinished(ctx, length: int = 600_000) -> str:
    """An upload whose client never came back."""
    upload = await service.create(ctx, owner=OWNER, length=700_000, metadata="")
    going_on = service.Continuation(ctx, upload)
    await going_on.take(a_document(length))
    await going_on.finish()
    return upload["_id"]


@pytest.mark.gen_test
async def test_an_unfinished_upload_is_taken_away_with_its_pieces_when_its_time_is_over(ctx):
    await left_unfinished(ctx)
    ctx.clock.step(ctx.policy.media_orphan_seconds)
    assert await collect_expired(ctx) == 0
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"pieces": 3, "open": 1}
    ctx.clock.step(0.001)
    assert await collect_expired(ctx) == 1
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"discarded": 1}
    ctx.clock.step(ctx.policy.media_orphan_seconds)
    assert await collect_expired(ctx) == 0
    assert await left_of_uploads(ctx) == NOTHING_LEFT


@pytest.mark.gen_test
async def test_what_a_slow_writer_added_after_the_first_pass_goes_with_the_second(ctx):
    upload_id = await left_unfinished(ctx)
    ctx.clock.step(ctx.policy.media_orphan_seconds + 1)
    await collect_expired(ctx)
    assert await ctx.pieces.add(upload_id, 600_000, b"late")
    ctx.clock.step(ctx.policy.media_orphan_seconds)
    await collect_expired(ctx)
    assert await left_of_uploads(ctx) == NOTHING_LEFT


@pytest.mark.gen_test
async def test_a_half_made_medium_of_an_upload_whose_time_is_over_goes_with_it(ctx):
    upload_id = await left_unfinished(ctx)
    await ctx.uploads.receive(upload_id, at=ctx.clock.now())
    until = ctx.clock.now() + service.CLAIM
    assert await ctx.uploads.claim(upload_id, "half-made", at=ctx.clock.now(), until=until)
    await service.intake.begin(ctx, media_id="half-made", owner=OWNER, found=service.media_rules.sniff(b"%PDF-1.7"))
    ctx.clock.step(ctx.policy.media_orphan_seconds + 1)
    assert await collect_expired(ctx) == 1
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"discarded": 1}


@pytest.mark.gen_test
async def test_the_medium_outlives_its_upload(ctx):
    upload_id = await left_unfinished(ctx)
    going_on = service.Continuation(ctx, await service.require_own(ctx, upload_id=upload_id, owner=OWNER))
    await going_on.take(a_document(700_000)[600_000:])
    medium = await service.medium_of(ctx, await going_on.finish())
    ctx.clock.step(2 * ctx.policy.media_orphan_seconds + 1)
    assert (await collect_expired(ctx), await collect_orphans(ctx)) == (0, 0)
    assert await ctx.uploads.get(upload_id) is None
    assert await ctx.media.get(medium["_id"]) == medium
    assert await ctx.files.read(medium["_id"]) == a_document(700_000)


@pytest.mark.gen_test
async def test_a_whole_upload_that_is_refused_by_the_worker_leaves_nothing_and_stops_nobody(ctx):
    made = []
    for data in (b"%PDF", a_document(5000), b"<html>"):
        upload = await service.create(ctx, owner=OWNER, length=len(data), metadata="")
        assert await ctx.pieces.add(upload["_id"], 0, data)
        made.append((await service.require_own(ctx, upload_id=upload["_id"], owner=OWNER))["status"])
    assert made == ["received"] * 3
    assert await examine_received(ctx) == 0
    ctx.clock.step(5)
    assert await examine_received(ctx) == 1
    counts = await left_of_uploads(ctx)
    assert (counts["media"], counts["pieces"], counts["discarded"], counts["ready"]) == (1, 0, 2, 1)
    assert await examine_received(ctx) == 0


@pytest.mark.gen_test
async def test_one_that_the_store_lost_keeps_no_other_from_being_made(ctx):
    whole = a_document(5000)
    lost, sound = [await service.create(ctx, owner=OWNER, length=len(whole), metadata="") for _ in range(2)]
    for upload in (lost, sound):
        assert await ctx.pieces.add(upload["_id"], 0, whole)
        await service.require_own(ctx, upload_id=upload["_id"], owner=OWNER)
    await ctx.pieces.delete(lost["_id"])
    ctx.clock.step(5)
    with capture_logs() as logs:
        assert await examine_received(ctx) == 1
    assert [(entry["event"], entry["upload"]) for entry in logs if entry["log_level"] == "error"] == [
        ("upload.failed", lost["_id"])
    ]
    assert (await ctx.uploads.get(sound["_id"]))["status"] == "ready"


def test_the_worker_is_told_to_look_regularly():
    assert [(20, examine_received), (600, collect_expired)] == PERIODIC
