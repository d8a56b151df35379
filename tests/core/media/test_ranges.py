import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.media.ranges import Span, Unsatisfiable, is_range_valid, is_unchanged, parse

TAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-99", Span(0, 100)),
        ("bytes=0-1000", Span(0, 100)),
        ("bytes=10-19", Span(10, 20)),
        ("bytes=99-", Span(99, 100)),
        ("bytes=-1", Span(99, 100)),
        ("bytes=-1000", Span(0, 100)),
        ("Bytes= 5-6", Span(5, 7)),
    ],
)
def test_one_range_is_cut_to_the_file(header, span):
    assert parse(header, 100) == span


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "bytes=1-2,4-5",
        "items=0-1",
        "bytes=٣-٤",
        "bytes=--1",
    ],
)
def test_what_is_not_one_range_is_ignored(header):
    assert parse(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_the_file_is_refused(header):
    with pytest.raises(Unsatisfiable):
        parse(header, 100)


def test_no_range_of_an_empty_file_can_be_satisfied():
    for header in ("bytes=0-", "bytes=-5"):
        with pytest.raises(Unsatisfiable):
            parse(header, 0)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 10**12))
@example(0, 0, 1)
def test_every_byte_between_first_and_last_is_served_and_no_other(first, last, size):
    header = f"bytes={first}-{last}"
    if last < first:
        assert parse(header, size) is None
    elif first >= size:
        with pytest.raises(Unsatisfiable):
            parse(header, size)
    else:
        span = parse(header, size)
        assert span == Span(first, min(last, size - 1) + 1)
        assert span.content_range(size) == f"bytes {first}-{min(last, size - 1)}/{size}"


@given(st.integers(1, 10**12), st.integers(1, 10**12))
def test_a_suffix_is_the_end_of_the_file(length, size):
    assert parse(f"bytes=-{length}", size) == Span(max(0, size - length), size)


@given(st.text(max_size=60) | st.from_regex(r"bytes=[0-9,\- ]{0,30}", fullmatch=True), st.integers(0, 1000))
def test_any_header_gives_a_part_of_the_file_or_all_of_it(header, size):
    try:
        span = parse(header, size)
    except Unsatisfiable:
        return
    assert span is None or 0 <= span.start < span.stop <= size


@pytest.mark.parametrize("header", ["*", TAG, f"W/{TAG}", f'"x", {TAG}', f'"x",W/{TAG} , "y"'])
def test_a_copy_with_this_tag_is_current(header):
    assert is_unchanged(header, TAG)


@pytest.mark.parametrize("header", [None, "", '"x"', "abc", '"abcd"', '"ab', "W/abc"])
def test_a_copy_with_another_tag_is_not(header):
    assert not is_unchanged(header, TAG)


@pytest.mark.parametrize(
    ("header", "counts"),
    [(None, True), (TAG, True), (f"W/{TAG}", False), ('"x"', False), ("Wed, 21 Oct 2026 07:28:00 GMT", False)],
)
def test_a_range_counts_only_for_the_file_it_was_begun_with(header, counts):
    assert is_range_valid(header, TAG) is counts
