import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.media.signatures import HEAD_BYTES, TYPES, sniff
from tests.core.media import making


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (making.a_jpeg, "jpeg"),
        (making.a_png, "png"),
        (lambda: making.an_animation("GIF"), "gif"),
        (making.a_webp, "webp"),
        (lambda: making.a_video("mp4"), "mp4"),
        (lambda: making.a_video("mov"), "mov"),
        (lambda: making.a_video("webm", video="libvpx", audio="libopus"), "webm"),
        (lambda: making.PDF, "pdf"),
        (lambda: making.HEIC, "heic"),
        (lambda: making.a_polyglot(), "jpeg"),
    ],
)
def test_type_is_told_by_the_first_bytes(make, name):
    assert sniff(make()[:HEAD_BYTES]) == TYPES[name]


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<html><body>",
        b"BM" + bytes(60),
        b"II*\x00" + bytes(60),
        b"PK\x03\x04" + bytes(60),
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00",
        b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska",
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'>",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>",
        b"\xef\xbb\xbf<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<!--\xff\xd8\xff-->",
        b" %PDF-1.7",
        b"MZ\x90\x00",
    ],
)
def test_what_is_not_in_the_table_is_unknown(head):
    assert sniff(head) is None


def test_a_video_made_of_telephones_quicktime_is_served_as_mp4():
    assert (TYPES["mov"].mime, TYPES["mov"].extension) == ("video/mp4", "mp4")


@given(st.binary(max_size=200))
def test_any_bytes_are_told_or_unknown(head):
    assert sniff(head) in {None, *TYPES.values()}
