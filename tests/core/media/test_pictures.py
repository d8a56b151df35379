import io

import pytest
from PIL import Image

from core.media.frames import Unfit
from core.media.pictures import THUMBNAIL_SIDE, clean
from tests.core.media import making

PIXELS = 1_000_000


def cleaned(data: bytes, type_: str, pixels: int = PIXELS):
    written = io.BytesIO()
    picture = clean(io.BytesIO(data), written, type_, pixels)
    return picture, written.getvalue()


def colours(image: Image.Image) -> tuple[str, str]:
    """Which of red and blue is left and right."""
    shown = image.convert("RGB")
    middle = shown.height // 2

    def name(x: int) -> str:
        red, _, blue = shown.getpixel((x, middle))
        return "red" if red > blue else "blue"

    return name(2), name(shown.width - 3)


@pytest.mark.parametrize(
    ("make", "type_", "format_"),
    [
        (making.a_jpeg, "jpeg", "JPEG"),
        (making.a_profiled_jpeg, "jpeg", "JPEG"),
        (lambda: making.encoded(making.a_picture(mode="CMYK"), "JPEG", exif=making.located_exif()), "jpeg", "JPEG"),
        (lambda: making.encoded(making.a_picture(mode="L"), "JPEG", comment=making.MARK), "jpeg", "JPEG"),
        (making.a_png, "png", "PNG"),
        (lambda: making.a_png(mode="RGBA"), "png", "PNG"),
        (lambda: making.a_png(mode="P"), "png", "PNG"),
        (lambda: making.a_png(mode="LA"), "png", "PNG"),
        (lambda: making.a_png(mode="1"), "png", "PNG"),
        (lambda: making.a_png(mode="I;16"), "png", "PNG"),
        (making.a_webp, "webp", "WEBP"),
        (lambda: making.a_webp(lossless=True), "webp", "WEBP"),
        (lambda: making.encoded(making.a_picture(mode="P"), "GIF", comment=making.MARK.encode()), "gif", "GIF"),
        (lambda: making.an_animation("GIF"), "gif", "GIF"),
        (lambda: making.an_animation("WEBP"), "webp", "WEBP"),
    ],
)
def test_nothing_but_pixels_is_left(make, type_, format_):
    data = make()
    assert making.MARK.encode() in data or making.MARK.encode("utf-16") in data or b"Exif" in data
    picture, clean_ = cleaned(data, type_)
    image = making.opened(clean_)
    assert image.format == format_
    assert (image.width, image.height) == (picture.width, picture.height)
    assert (dict(image.getexif()), image.info.get("xmp"), image.info.get("comment")) == ({}, None, None)
    assert "icc_profile" not in image.info
    for bytes_ in (clean_, picture.thumbnail):
        assert making.MARK.encode() not in bytes_
        assert [word for word in (b"exif", b"gps", b"xmp") if word in bytes_.lower()] == []


def test_the_gps_position_is_there_before_and_gone_after():
    data = making.a_jpeg()
    assert making.opened(data).getexif().get_ifd(0x8825)[2] == (31.0, 13.0, 49.0)
    _, clean_ = cleaned(data, "jpeg")
    assert dict(making.opened(clean_).getexif().get_ifd(0x8825)) == {}


@pytest.mark.parametrize(
    ("orientation", "size", "shown"),
    [
        (1, (64, 48), ("red", "blue")),
        (2, (64, 48), ("blue", "red")),
        (3, (64, 48), ("blue", "red")),
        (6, (48, 64), None),
        (8, (48, 64), None),
    ],
)
def test_the_orientation_is_applied_to_the_pixels(orientation, size, shown):
    picture, clean_ = cleaned(making.a_jpeg(orientation=orientation), "jpeg")
    image = making.opened(clean_)
    assert (picture.width, picture.height) == image.size == size
    if shown is not None:
        assert colours(image) == colours(making.opened(picture.thumbnail)) == shown
    else:  # a quarter turn: red is above or below
        red_is_above = image.convert("RGB").getpixel((24, 2))[0] > 128
        assert red_is_above is (orientation == 6)


def test_a_jpeg_keeps_its_own_quantisation_and_thereby_its_look():
    data = making.a_jpeg(quality=71)
    _, clean_ = cleaned(data, "jpeg")
    before, after = making.opened(data), making.opened(clean_)
    assert before.quantization == after.quantization
    most = max(abs(a - b) for a, b in zip(before.convert("L").tobytes(), after.convert("L").tobytes(), strict=True))
    assert most <= 4


def test_a_lossless_image_stays_lossless():
    for data, type_ in ((making.a_png(), "png"), (making.a_webp(lossless=True), "webp")):
        _, clean_ = cleaned(data, type_)
        assert making.opened(clean_).convert("RGB").tobytes() == making.a_picture().tobytes()


@pytest.mark.parametrize(("format_", "type_"), [("GIF", "gif"), ("WEBP", "webp")])
def test_an_animation_stays_one(format_, type_):
    picture, clean_ = cleaned(making.an_animation(format_, frames=4), type_)
    image = making.opened(clean_)
    assert (image.n_frames, image.info["loop"], image.size) == (4, 0, (40, 30))
    image.seek(1)
    image.load()
    assert image.info["duration"] == 100
    assert making.opened(picture.thumbnail).size == (40, 30)


def test_transparency_stays_and_is_white_in_the_thumbnail():
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    picture, clean_ = cleaned(making.encoded(image, "PNG"), "png")
    assert making.opened(clean_).getpixel((5, 5)) == (0, 0, 0, 0)
    assert making.opened(picture.thumbnail).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("size", "small"),
    [((2000, 1000), (320, 160)), ((1000, 2001), (160, 320)), ((64, 48), (64, 48)), ((3000, 2), (320, 1))],
)
def test_a_thumbnail_is_a_jpeg_of_at_most_320_pixels(size, small):
    picture, _ = cleaned(making.a_jpeg(*size), "jpeg", 10_000_000)
    thumbnail = making.opened(picture.thumbnail)
    assert (thumbnail.format, thumbnail.size) == ("JPEG", small)
    assert max(small) <= THUMBNAIL_SIDE


def test_a_bomb_is_refused_by_what_it_announces():
    with pytest.raises(Unfit, match="too_many_pixels"):
        cleaned(making.a_png_bomb(), "png", 50_000_000)


def test_the_limit_is_exact_and_counts_all_frames():
    cleaned(making.a_png(100, 100), "png", 10_000)
    with pytest.raises(Unfit):
        cleaned(making.a_png(100, 101), "png", 10_000)
    cleaned(making.an_animation("GIF", frames=3), "gif", 3_600)
    with pytest.raises(Unfit):
        cleaned(making.an_animation("GIF", frames=3), "gif", 3_599)


@pytest.mark.parametrize(
    ("make", "type_"),
    [
        (making.a_jpeg, "jpeg"),
        (making.a_png, "png"),
        (making.a_webp, "webp"),
        (lambda: making.an_animation("GIF"), "gif"),
    ],
)
def test_a_file_cut_short_is_an_error(make, type_):
    data = make()
    with pytest.raises((OSError, ValueError, SyntaxError, EOFError)):
        cleaned(data[: len(data) * 2 // 3], type_)


def test_only_the_decoder_of_the_type_told_by_the_bytes_is_tried():
    with pytest.raises(OSError, match="cannot identify"):
        cleaned(making.a_png(), "jpeg")


def test_a_polyglot_is_reduced_to_its_image():
    data = making.a_polyglot()
    _, clean_ = cleaned(data, "jpeg")
    assert b"<script>" in data
    assert b"<script>" not in clean_
    assert clean_.endswith(b"\xff\xd9")
