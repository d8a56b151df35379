from datetime import UTC, datetime

import pytest

from core.errors import Invalid, NotFound, TooLarge, UnsupportedMedia
from core.media import rules
from core.media.frames import Unfit
from core.policy import MIB, Policy
from storage.media import Media
from tests.core.media import making

POLICY = Policy(media_image_bytes=2 * MIB, media_video_bytes=8 * MIB, media_file_bytes=4 * MIB)


def a_medium(**changes) -> Media:
    return {
        "_id": "m",
        "owner": "owner",
        "status": "ready",
        "kind": "image",
        "readers": ["doctor"],
        **changes,
    }


@pytest.mark.parametrize(("kind", "limit"), [("image", 2), ("video", 8), ("file", 4)])
def test_each_kind_has_its_limit_and_the_refusal_names_it(kind, limit):
    rules.require_size(limit * MIB, kind, POLICY)
    with pytest.raises(TooLarge, match=f"不能超过 {limit} MB"):
        rules.require_size(limit * MIB + 1, kind, POLICY)


def test_what_no_kind_may_have_is_refused_by_its_length_alone():
    rules.require_any_size(8 * MIB, POLICY)
    with pytest.raises(TooLarge, match="不能超过 8 MB"):
        rules.require_any_size(8 * MIB + 1, POLICY)


@pytest.mark.parametrize("declared", ["", "application/octet-stream", "image/jpeg", "image/png", "IMAGE/JPEG; x=y"])
def test_the_declared_type_does_not_decide(declared):
    assert rules.require_type(making.a_jpeg(), declared).name == "jpeg"


@pytest.mark.parametrize("declared", ["video/mp4", "application/pdf", "text/html", "audio/mpeg", "x"])
def test_another_kind_than_declared_is_refused(declared):
    with pytest.raises(UnsupportedMedia, match="不一致"):
        rules.require_type(making.a_jpeg(), declared)


def test_unknown_bytes_are_refused_whatever_is_declared():
    with pytest.raises(UnsupportedMedia, match="支持 JPEG"):
        rules.require_type(b"<html></html>", "image/jpeg")


def test_heic_is_refused_with_what_to_do():
    with pytest.raises(UnsupportedMedia, match="请转换为 JPEG"):
        rules.require_type(making.HEIC, "image/heic")


@pytest.mark.parametrize(
    ("declared", "size", "refusal"),
    [
        ("image/png", MIB, None),
        ("image/png", MIB + 1, TooLarge),
        ("Video/MP4; codecs=x", 2 * MIB, None),
        ("", 2 * MIB, None),
        ("application/octet-stream", 2 * MIB + 1, TooLarge),
        ("text/html", 1, UnsupportedMedia),
        ("image", 1, UnsupportedMedia),
    ],
)
def test_what_an_announcement_shows_is_refused_before_the_first_byte(declared, size, refusal):
    policy = Policy(media_image_bytes=MIB, media_video_bytes=2 * MIB, media_file_bytes=MIB)
    if refusal is None:
        rules.require_announced(declared, size, policy)
    else:
        with pytest.raises(refusal):
            rules.require_announced(declared, size, policy)


@pytest.mark.parametrize(
    ("why", "refusal"),
    [
        ("codec", UnsupportedMedia),
        ("damaged", Invalid),
        ("too_many_pixels", Invalid),
        ("too_demanding", Invalid),
    ],
)
def test_every_verdict_has_its_refusal(why, refusal):
    assert type(rules.refusal(Unfit(why).why, "video")) is refusal


@pytest.mark.parametrize(("account", "may"), [("owner", True), ("doctor", True), ("stranger", False), ("", False)])
def test_a_medium_is_for_its_owner_and_the_readers(account, may):
    assert rules.is_readable(a_medium(), account) is may


@pytest.mark.parametrize("status", ["uploading", "discarded"])
def test_what_is_not_ready_is_for_nobody(status):
    assert not rules.is_readable(a_medium(status=status), "owner")


@pytest.mark.parametrize("medium", [None, a_medium(owner="other"), a_medium(status="uploading")])
def test_only_ones_own_finished_media_are_used(medium):
    with pytest.raises(NotFound):
        rules.require_usable(medium, "owner", frozenset({"image"}))


def test_a_medium_of_another_kind_is_not_used():
    with pytest.raises(Invalid, match="只能使用图片、视频"):
        rules.require_usable(a_medium(kind="file"), "owner", frozenset({"video", "image"}))


def test_all_files_of_a_medium_are_named_by_its_id():
    assert rules.files_of("m") == ("m.raw", "m", "m.thumbnail")


@pytest.mark.rule("R5-1")
def test_years_are_counted_by_the_calendar():
    assert rules.retained_until(datetime(2026, 5, 1, 9, tzinfo=UTC), 15) == datetime(2041, 5, 1, 9, tzinfo=UTC)
    assert rules.retained_until(datetime(2028, 2, 29, tzinfo=UTC), 15) == datetime(2043, 3, 1, tzinfo=UTC)
