import asyncio
import hashlib
from dataclasses import replace

import pytest

from core.errors import Invalid, NotFound, ServiceUnavailable, TooLarge, UnsupportedMedia
from core.media import rules
from core.media.intake import Intake, discard
from core.media.workshop import Workshop
from core.policy import MIB
from storage.files import FileMissing
from tests.core.media import making
from tests.core.media.conftest import NOTHING, left_in, upload


async def stored(ctx, media, variant="original") -> bytes:
    return await ctx.files.read(rules.file_of(media["_id"], variant))


@pytest.mark.gen_test
async def test_an_image_becomes_ready_and_what_is_told_is_true_of_what_is_stored(ctx):
    media = await upload(ctx, making.a_jpeg(400, 300, orientation=6))
    data, thumbnail = await stored(ctx, media), await stored(ctx, media, "thumbnail")
    assert media == await ctx.media.get(media["_id"])
    assert (media["status"], media["kind"], media["mime"], media["owner"]) == ("ready", "image", "image/jpeg", "owner")
    assert (media["width"], media["height"], media["duration"]) == (300, 400, None)
    assert (media["size"], media["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert media["thumbnail_size"] == len(thumbnail)
    assert making.opened(thumbnail).size == (240, 320)
    assert (media["created_at"], media["ready_at"]) == (ctx.clock.now(), ctx.clock.now())
    assert (media["readers"], media["visits"], media["retain_until"]) == ([], [], None)


@pytest.mark.gen_test
async def test_the_bytes_that_came_are_gone_when_the_clean_ones_are_there(ctx):
    media = await upload(ctx, making.a_jpeg())
    with pytest.raises(FileMissing):
        await ctx.files.size(rules.raw_file(media["_id"]))
    assert (await left_in(ctx))["files.files"] == 2
    assert making.MARK.encode() not in await stored(ctx, media)


@pytest.mark.gen_test(timeout=20)
async def test_a_video_has_its_length_and_a_poster_and_no_place(ctx):
    media = await upload(ctx, making.a_video("mov"))
    assert (media["kind"], media["mime"], media["type"]) == ("video", "video/mp4", "mov")
    assert (media["width"], media["height"], media["duration"]) == (160, 120, pytest.approx(1.0, abs=0.05))
    assert making.opened(await stored(ctx, media, "thumbnail")).size == (160, 120)
    assert making.PLACE not in await stored(ctx, media)


@pytest.mark.gen_test
async def test_a_pdf_is_kept_as_it_came(ctx):
    media = await upload(ctx, making.PDF, declared="application/pdf")
    assert (media["kind"], media["mime"], media["size"]) == ("file", "application/pdf", len(making.PDF))
    assert media["sha256"] == hashlib.sha256(making.PDF).hexdigest()
    assert (media["width"], media["height"], media["duration"], media["thumbnail_size"]) == (None, None, None, None)
    assert await stored(ctx, media) == making.PDF


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"", Invalid),
        (b"%", UnsupportedMedia),
        (b"<html></html>", UnsupportedMedia),
        (making.HEIC, UnsupportedMedia),
        (making.a_jpeg()[:700], Invalid),
        (making.a_png_bomb(), Invalid),
        (b"\x89PNG\r\n\x1a\n" + bytes(5000), Invalid),
        (b"\x00\x00\x00\x20ftypisom" + bytes(5000), Invalid),
        (making.a_video("mp4", video="mpeg4", audio=None), UnsupportedMedia),
        (making.a_jpeg() + bytes(MIB), TooLarge),
    ],
    ids=["empty", "one byte", "page", "heic", "cut", "bomb", "no png", "no mp4", "codec", "large"],
)
@pytest.mark.gen_test(timeout=20)
async def test_a_refusal_leaves_nothing(ctx, data, refusal):
    with pytest.raises(refusal):
        await upload(ctx, data)
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_another_kind_than_declared_is_refused_before_anything_is_stored(ctx):
    coming = Intake(ctx, owner="owner", declared="video/mp4")
    with pytest.raises(UnsupportedMedia):
        await coming.take(making.a_jpeg(800, 600))
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_too_large_an_announcement_is_refused_with_the_first_bytes(ctx):
    coming = Intake(ctx, owner="owner", declared="", announced=MIB + 1)
    with pytest.raises(TooLarge, match="图片不能超过 1 MB"):
        await coming.take(making.a_jpeg(800, 600))
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_the_limit_of_the_kind_holds_while_the_bytes_come(ctx):
    coming = Intake(ctx, owner="owner", declared="")
    await coming.take(making.a_jpeg() + bytes(MIB // 2))
    assert (await left_in(ctx))["media"] == 1
    with pytest.raises(TooLarge):
        await coming.take(bytes(MIB // 2))
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_after_a_refusal_nothing_more_is_taken(ctx):
    coming = Intake(ctx, owner="owner", declared="")
    with pytest.raises(UnsupportedMedia):
        await coming.take(b"<html>" + bytes(5000))
    await coming.take(making.a_jpeg(800, 600))
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_bytes_may_come_one_by_one(ctx):
    data = making.a_jpeg(20, 20, exif=b"")
    coming = Intake(ctx, owner="owner", declared="image/jpeg", announced=len(data))
    for byte in data:
        await coming.take(bytes([byte]))
    assert (await coming.finish())["width"] == 20


@pytest.mark.gen_test
async def test_an_abandoned_upload_leaves_nothing(ctx):
    coming = Intake(ctx, owner="owner", declared="")
    await coming.take(making.a_jpeg() + bytes(600_000))
    assert await left_in(ctx) == {"media": 1, "files.files": 0, "files.chunks": 2}
    await coming.abandon()
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_an_upload_abandoned_while_it_is_finished_leaves_nothing(ctx):
    coming = Intake(ctx, owner="owner", declared="")
    await coming.take(making.a_jpeg(800, 600))
    finished, _ = await asyncio.gather(coming.finish(), coming.abandon())
    assert finished["status"] == "ready"
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_what_has_been_attached_is_not_discarded(ctx):
    media = await upload(ctx, making.a_jpeg())
    now = ctx.clock.now()
    await ctx.media.attach(media["_id"], owner="owner", visit_id="v", readers={"d"}, retain_until=now)
    await discard(ctx, media["_id"])
    assert (await left_in(ctx))["files.files"] == 2


@pytest.mark.gen_test
async def test_an_upload_that_was_swept_meanwhile_is_not_revived(ctx):
    coming = Intake(ctx, owner="owner", declared="")
    await coming.take(making.a_jpeg(800, 600))
    (document,) = await ctx.store.db["media"].find({}).to_list(None)
    await ctx.media.discard(document["_id"])
    with pytest.raises(NotFound):
        await coming.finish()
    assert (await ctx.media.get(document["_id"]))["status"] == "discarded"


@pytest.mark.gen_test
async def test_a_full_workshop_is_told_and_nothing_is_left(ctx):
    full = Workshop(queue=0)
    await full.start()
    with pytest.raises(ServiceUnavailable) as refusal:
        await upload(replace(ctx, workshop=full), making.a_jpeg())
    assert (refusal.value.code, refusal.value.status) == ("overloaded", 503)
    assert await left_in(ctx) == NOTHING
