import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AppError, Conflict, Invalid, TooLarge, UnsupportedMedia
from core.policy import Policy
from core.uploads import rules

NOW = datetime(2026, 11, 2, 4, tzinfo=UTC)


def upload(**changes):
    return {"status": "open", "offset": 10, "length": 100, "expires_at": NOW, **changes}


@pytest.mark.parametrize("said", [None, "", "1", "1.0.1", "1.0.0 "])
def test_one_version_is_spoken(said):
    rules.require_version("1.0.0")
    with pytest.raises(AppError) as refusal:
        rules.require_version(said)
    assert (refusal.value.status, refusal.value.code) == (412, "unsupported_version")


@pytest.mark.parametrize("said", [None, "", "-1", "+1", "1.0", " 1", "1 ", "0x1", "١", "1_0", "9" * 17])
def test_numbers_are_digits(said):
    assert (rules.length_of("007"), rules.offset_of("0")) == (7, 0)
    for read in (rules.length_of, rules.offset_of):
        with pytest.raises(Invalid):
            read(said)


def test_an_empty_file_is_not_begun():
    with pytest.raises(Invalid, match="文件内容为空"):
        rules.length_of("0")


@pytest.mark.parametrize(
    ("metadata", "declared"),
    [
        ("", ""),
        ("filename eA==", ""),
        ("filetype aW1hZ2UvcG5n", "image/png"),
        ("filename eA==,filetype aW1hZ2UvcG5n, is_private", "image/png"),
        ("filetype ", ""),
    ],
)
def test_the_type_is_read_from_the_metadata(metadata, declared):
    assert rules.declared_type(metadata) == declared


@pytest.mark.parametrize(
    "metadata",
    [
        ",",
        " ",
        "filetype %",
        "filetype aW1hZ2UvcG5",
        "filetype eA==,filetype eA==",
        "é eA==",
        "filetype 5Zu+54mH",
        "filetype " + base64.b64encode(b"x" * 101).decode(),
        "a" * 65,
        "a " + "A" * 2048,
    ],
)
def test_metadata_of_another_form_is_invalid(metadata):
    with pytest.raises(Invalid) as refusal:
        rules.declared_type(metadata)
    assert [*refusal.value.errors] == ["Upload-Metadata"]


@given(st.text(max_size=60))
def test_any_metadata_is_read_or_invalid(metadata):
    with suppress(Invalid):
        assert rules.declared_type(metadata).isascii()


@pytest.mark.parametrize("said", [None, "", "application/octet-stream", "application/json", "x"])
def test_parts_have_a_type_of_their_own(said):
    rules.require_content_type("Application/Offset+Octet-Stream; x=y")
    with pytest.raises(UnsupportedMedia):
        rules.require_content_type(said)


def test_a_part_begins_where_the_upload_ends_and_fits_into_it():
    rules.require_next(upload(), 10, 90)
    for offset in (9, 11):
        with pytest.raises(Conflict) as refusal:
            rules.require_next(upload(), offset, 1)
        assert refusal.value.code == "wrong_offset"
    with pytest.raises(TooLarge):
        rules.require_next(upload(), 10, 91)


def test_an_upload_is_over_when_its_time_has_come_or_it_was_discarded():
    before = NOW - timedelta(milliseconds=1)
    assert [rules.is_over(upload(), now) for now in (before, NOW)] == [False, True]
    assert rules.is_over(upload(status="discarded"), before)
    assert not rules.is_over(upload(status="ready"), before)


def test_an_upload_may_be_gone_on_with_as_long_as_orphans_are_kept():
    assert rules.expiry(NOW, Policy(media_orphan_seconds=3600)) == NOW + timedelta(hours=1)
