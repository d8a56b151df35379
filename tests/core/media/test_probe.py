import contextlib
import io
import tempfile

import av
import pytest

from core.media.frames import Unfit
from core.media.probe import _NO_PROTOCOL, clean_video
from tests.core.media import making

PIXELS = 1_000_000


def cleaned(data: bytes, type_: str, pixels: int = PIXELS):
    with tempfile.NamedTemporaryFile() as target:
        film = clean_video(io.BytesIO(data), target.name, type_, pixels)
        return film, target.read()


VIDEOS = [
    ("mp4", "mp4", "libx264", "aac", "h264"),
    ("mov", "mov", "libx264", "aac", "h264"),
    ("mp4", "mp4", "libx265", None, "hevc"),
    ("webm", "webm", "libvpx", "libopus", "vp8"),
    ("webm", "webm", "libvpx-vp9", "libopus", "vp9"),
]


@pytest.mark.parametrize(("container", "type_", "video", "audio", "codec"), VIDEOS)
def test_streams_stay_and_the_place_goes(container, type_, video, audio, codec):
    data = making.a_video(container, video=video, audio=audio)
    assert making.PLACE in data
    assert making.MARK.encode() in data
    film, clean = cleaned(data, type_)
    assert (film.width, film.height, film.duration) == (160, 120, pytest.approx(1.0, abs=0.05))
    for bytes_ in (clean, film.poster):
        assert making.PLACE not in bytes_
        assert making.MARK.encode() not in bytes_
    with making.film(clean) as came:
        assert came.streams.video[0].codec_context.name == codec
        assert len(came.streams) == (2 if audio else 1)
        assert sum(isinstance(frame, av.VideoFrame) for frame in came.decode(video=0)) == 25
        assert not {"location", "LOCATION", "title", "creation_time"} & set(came.metadata)


def test_quicktime_becomes_mp4_that_plays_before_it_is_there_as_a_whole():
    _, clean = cleaned(making.a_video("mov"), "mov")
    assert clean[4:12] == b"ftypisom"
    assert 0 < clean.find(b"moov") < clean.find(b"mdat")


def test_hevc_is_spelt_as_apples_players_take_it():
    _, clean = cleaned(making.a_video("mp4", video="libx265", audio=None), "mp4")
    assert b"hvc1" in clean
    assert b"hev1" not in clean


def test_the_poster_is_the_first_frame_as_a_small_jpeg():
    film, _ = cleaned(making.a_video(side=640), "mp4")
    poster = making.opened(film.poster)
    assert (poster.format, poster.size) == ("JPEG", (320, 240))
    red, green, blue = poster.convert("RGB").getpixel((100, 100))
    assert (red < 30, 60 < green < 120, 10 < blue < 70) == (True, True, True)


def test_a_turned_video_is_measured_and_shown_upright():
    film, clean = cleaned(making.turned(making.a_video()), "mp4")
    assert (film.width, film.height) == (120, 160)
    assert making.opened(film.poster).size == (120, 160)
    with making.film(clean) as came:
        assert next(iter(came.decode(video=0))).rotation == -90


def test_pixels_of_a_frame_are_limited():
    with pytest.raises(Unfit, match="too_many_pixels"):
        cleaned(making.a_video(), "mp4", 160 * 120 - 1)


@pytest.mark.parametrize(
    ("container", "video", "audio"),
    [("mp4", "mpeg4", "aac"), ("mp4", "libx264", "ac3"), ("mov", "mpeg4", None), ("mov", "libx264", "pcm_s16le")],
)
def test_streams_that_no_browser_plays_are_refused(container, video, audio):
    data = making.a_video(container, video=video, audio=audio)
    with pytest.raises(Unfit, match="codec"):
        cleaned(data, container)


def test_sound_without_pictures_is_refused():
    written = io.BytesIO()
    with av.open(written, "w", format="mp4") as made:
        making._add_silence(made, made.add_stream("aac", rate=48_000), 1.0)
    with pytest.raises(Unfit, match="codec"):
        cleaned(written.getvalue(), "mp4")


def test_a_matroska_file_that_calls_itself_webm_is_refused():
    data = making.a_video("matroska", video="libx264", audio=None)
    with pytest.raises(Unfit, match="codec"):
        cleaned(data, "webm")


@pytest.mark.parametrize("left", [0.3, 0.6])
@pytest.mark.parametrize(("container", "video", "audio"), [("mp4", "libx264", "aac"), ("webm", "libvpx", "libopus")])
def test_a_video_cut_short_is_refused(container, video, audio, left):
    data = making.a_video(container, video=video, audio=audio, frames=75)
    with pytest.raises((Unfit, av.FFmpegError)):
        cleaned(data[: int(len(data) * left)], container)


def test_a_video_that_is_cut_after_its_index_is_refused():
    _, whole = cleaned(making.a_video(frames=75), "mp4")  # the index now stands before the packets
    with pytest.raises((Unfit, av.FFmpegError)):
        cleaned(whole[: len(whole) * 2 // 3], "mp4")


def test_metadata_in_another_encoding_is_no_fault():
    data = making.a_video().replace(making.MARK.encode(), "医院".encode("gbk").ljust(len(making.MARK), b"x"))
    film, _ = cleaned(data, "mp4")
    assert film.width == 160


PLAYLISTS = {
    "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "dash": b"<?xml version='1.0'?><MPD><Period><AdaptationSet><BaseURL>file:///etc/passwd</BaseURL></MPD>",
    "sdp": b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
}


@pytest.mark.parametrize("start", [b"", making.FTYP, b"\x1a\x45\xdf\xa3\x84\x42\x82\x84webm"])
@pytest.mark.parametrize("playlist", PLAYLISTS.values(), ids=PLAYLISTS)
def test_a_playlist_is_not_followed_whatever_it_begins_with(playlist, start):
    for type_ in ("mp4", "mov", "webm"):
        with pytest.raises((av.FFmpegError, Unfit)):
            cleaned(start + playlist, type_)


def heard(work) -> str:
    """What the demuxer says meanwhile."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.VERBOSE)
    try:
        with av.logging.Capture() as lines, contextlib.suppress(av.FFmpegError, Unfit):
            work()
    finally:
        av.logging.set_level(before)
    return " ".join(message for _, _, message in lines)


def test_a_film_whose_samples_are_in_another_file_is_not_followed(tmp_path):
    other = tmp_path / "other.mov"
    other.write_bytes(making.a_video("mov", audio=None, frames=5))
    bait = making.a_film_elsewhere(str(other))
    assert "Skipped opening external track" in heard(lambda: cleaned(bait, "mov"))
    # And were the demuxer told to follow, as it may be in another build, it could not.
    told = {"enable_drefs": "1", "use_absolute_path": "1", "protocol_whitelist": _NO_PROTOCOL}
    said = heard(lambda: av.open(io.BytesIO(bait), format="mov", options=told))
    assert f"Protocol 'file' not on whitelist '{_NO_PROTOCOL}'" in said
