from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id
from core.media import rules, service
from tests.core.media import making
from tests.core.media.conftest import upload


@pytest.fixture
def image(io_loop, ctx):
    return io_loop.run_sync(lambda: upload(ctx, making.a_jpeg()))


@pytest.fixture
def document(io_loop, ctx):
    return io_loop.run_sync(lambda: upload(ctx, making.PDF))


async def attach(ctx, *media, owner="owner", visit="visit", readers=("owner", "doctor"), kinds=("image",), **more):
    ids = [medium["_id"] for medium in media]
    return await service.attach(ctx, media_ids=ids, owner=owner, visit_id=visit, readers=readers, kinds=kinds, **more)


async def all_of(ctx):
    return await ctx.store.db["media"].find({}).to_list(None)


@pytest.mark.rule("R5-1")
@pytest.mark.gen_test
async def test_attaching_lets_the_other_side_read_and_keeps_the_medium_with_the_record(ctx, image):
    (attached,) = await attach(ctx, image)
    until = rules.retained_until(ctx.clock.now(), 15)
    assert attached == {**image, "visits": ["visit"], "readers": ["doctor", "owner"], "retain_until": until}
    assert await service.require_readable(ctx, media_id=image["_id"], account="doctor") == attached


@pytest.mark.gen_test
async def test_attaching_again_changes_nothing(ctx, image):
    once = await attach(ctx, image)
    assert await attach(ctx, image, image) == once


@pytest.mark.gen_test
async def test_media_come_back_in_the_order_given(ctx, image):
    second = await upload(ctx, making.a_png())
    assert [medium["_id"] for medium in await attach(ctx, second, image)] == [second["_id"], image["_id"]]
    assert await attach(ctx) == []


@pytest.mark.gen_test
async def test_one_that_cannot_be_used_and_none_is_attached(ctx, image, document):
    before = await all_of(ctx)
    for more, refusal in (
        ({"_id": new_id()}, NotFound),
        (document, Invalid),
        (await upload(ctx, making.a_png(), owner="other"), NotFound),
    ):
        with pytest.raises(refusal):
            await attach(ctx, image, more)
    assert [medium for medium in await all_of(ctx) if medium["owner"] == "owner"] == before


@pytest.mark.gen_test
async def test_only_the_owner_attaches(ctx, image):
    await attach(ctx, image)
    with pytest.raises(NotFound):
        await attach(ctx, image, owner="doctor", visit="another", readers=("stranger",))
    assert (await ctx.media.get(image["_id"]))["readers"] == ["doctor", "owner"]


@pytest.mark.gen_test
async def test_a_message_can_name_only_ones_own_finished_medium_of_its_kind(ctx, image):
    assert await service.require_sendable(ctx, media_id=image["_id"], owner="owner", kind="image") == image
    for refused, refusal in (
        ({"media_id": image["_id"], "owner": "owner", "kind": "video"}, Invalid),
        ({"media_id": image["_id"], "owner": "doctor", "kind": "image"}, NotFound),
        ({"media_id": new_id(), "owner": "owner", "kind": "image"}, NotFound),
    ):
        with pytest.raises(refusal):
            await service.require_sendable(ctx, **refused)
    assert await all_of(ctx) == [image]


@pytest.mark.gen_test
async def test_strangers_do_not_find_it(ctx, image):
    assert await service.require_readable(ctx, media_id=image["_id"], account="owner") == image
    for media_id, account in ((image["_id"], "stranger"), (new_id(), "owner")):
        with pytest.raises(NotFound):
            await service.require_readable(ctx, media_id=media_id, account=account)


def test_the_view_names_the_thumbnail_by_its_path(image, document):
    assert service.view(image)["thumbnail"] == f"/api/v1/media/{image['_id']}/thumbnail"
    assert service.view(document)["thumbnail"] is None


def test_images_are_shown_and_files_are_saved(image, document):
    assert service.content_of(image, "original").disposition == f'inline; filename="{image["_id"]}.jpg"'
    assert service.content_of(document, "original").disposition == f'attachment; filename="{document["_id"]}.pdf"'
    with pytest.raises(NotFound):
        service.content_of(document, "thumbnail")


def test_variants_have_different_tags(image):
    tags = {service.content_of(image, variant).etag for variant in ("original", "thumbnail")}
    assert tags == {f'"{image["sha256"]}"', f'"{image["sha256"]}-thumbnail"'}


async def granted(ctx, url: str, **changes):
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | {"media_id": parts.path.split("/")[4]}
    return await service.require_granted(ctx, **{**query, "expires": int(query["expires"]), **changes})


@pytest.mark.gen_test
async def test_a_link_is_good_for_five_minutes(ctx, image):
    link = await service.link(ctx, media_id=image["_id"], account="owner", variant="original")
    assert 299 <= (link["expires_at"] - ctx.clock.now()).total_seconds() <= 300
    assert await granted(ctx, link["url"]) == image
    ctx.clock.step(298)
    assert await granted(ctx, link["url"]) == image
    ctx.clock.step(2)
    with pytest.raises(Forbidden, match="过期"):
        await granted(ctx, link["url"])


@pytest.mark.gen_test
async def test_a_link_is_only_for_what_and_whom_it_was_made(ctx, image):
    link = await service.link(ctx, media_id=image["_id"], account="owner", variant="thumbnail")
    for change in ({"variant": "original"}, {"account": "doctor"}, {"media_id": new_id()}, {"expires": 2**33}):
        with pytest.raises(Forbidden, match="无效"):
            await granted(ctx, link["url"], **change)


@pytest.mark.gen_test
async def test_a_link_signed_with_another_key_is_false(ctx, image):
    link = await service.link(ctx, media_id=image["_id"], account="owner", variant="original")
    with pytest.raises(Forbidden):
        await granted(replace(ctx, secrets=replace(ctx.secrets, links=b"x" * 32)), link["url"])


@pytest.mark.gen_test
async def test_a_link_of_one_who_may_no_longer_read_finds_nothing(ctx, image):
    await attach(ctx, image)
    link = await service.link(ctx, media_id=image["_id"], account="doctor", variant="original")
    await ctx.store.db["media"].update_one({"_id": image["_id"]}, {"$set": {"readers": []}})
    with pytest.raises(NotFound):
        await granted(ctx, link["url"])


@pytest.mark.gen_test
async def test_no_link_to_what_one_may_not_read_or_what_is_not_there(ctx, image, document):
    with pytest.raises(NotFound):
        await service.link(ctx, media_id=image["_id"], account="stranger", variant="original")
    with pytest.raises(NotFound):
        await service.link(ctx, media_id=document["_id"], account="owner", variant="thumbnail")


@pytest.mark.gen_test
async def test_a_part_is_read_exactly(ctx, document):
    content = service.content_of(document, "original")
    pieces = await service.read(ctx, content, 5, 12)
    assert b"".join([piece async for piece in pieces]) == making.PDF[5:12]
