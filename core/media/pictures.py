"""Images made clean: decoded wholly and encoded anew, so that only pixels survive. Runs in a child of the workshop.

What is lost on purpose: EXIF (place, time, device; the orientation is applied), XMP, comments, embedded thumbnails,
bytes behind the end of the image, colour profiles (pixels are converted to sRGB). What stays: size, palette,
transparency, animation of GIF and WebP, a JPEG's own quantisation, so that encoding it again costs nothing visible.
"""

import io
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from PIL import Image, ImageCms, ImageOps, ImageSequence

from core.media.frames import Unfit

THUMBNAIL_SIDE: Final = 320
_THUMBNAIL_QUALITY: Final = 80
# For files whose own quantisation cannot be used: no visible loss, about the size telephones write.
_QUALITY: Final = 92
_FORMATS: Final = {"jpeg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP"}

# The limit is checked on the announced size before anything is decoded, by ourselves and exactly.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Picture:
    """Size as shown, and a JPEG of at most `THUMBNAIL_SIDE` pixels a side."""

    width: int
    height: int
    thumbnail: bytes


def clean(source: BinaryIO, target: BinaryIO, type_: str, pixels: int) -> Picture:
    """Write the cleaned image to `target`. Raises `Unfit("too_many_pixels")`, and what Pillow does for a broken file.

    `pixels` bounds all frames together. Only the decoder of `type_` is ever tried.
    """
    with Image.open(source, formats=(_FORMATS[type_],)) as image:
        # Further pictures in a JPEG or PNG (depth maps, animated PNG) are neither decoded nor kept.
        frames = getattr(image, "n_frames", 1) if type_ in ("gif", "webp") else 1
        if image.width * image.height * frames > pixels:
            raise Unfit("too_many_pixels")
        if frames > 1:
            return _save_animation(image, target, _FORMATS[type_])
        return _save_still(image, target, type_)


def _save_still(image: Any, target: BinaryIO, type_: str) -> Picture:
    options = _options(image, type_)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    still = _in_srgb(image)
    still.info = {name: value for name, value in still.info.items() if name == "transparency"}
    if type_ == "jpeg" and still.mode not in ("L", "RGB"):
        still = still.convert("RGB")
    still.save(target, _FORMATS[type_], **options)
    return Picture(still.width, still.height, thumbnail_of(still))


def _options(image: Any, type_: str) -> dict[str, Any]:
    if type_ == "jpeg":
        tables = image.quantization
        if image.mode in ("L", "RGB") and tables and all(0 < max(table) <= 255 for table in tables.values()):
            return {"qtables": tables, "subsampling": _subsampling(image)}
        return {"quality": _QUALITY}
    # Low effort: a large screenshot takes tenths of a second instead of seconds and grows by a few per cent.
    if type_ == "png":
        return {"compress_level": 4}
    if type_ == "webp":
        return {"lossless": _is_lossless(image), "quality": _QUALITY, "method": 2}
    return {}


def _is_lossless(image: Any) -> bool:
    """Whether a WebP's pixels are in a `VP8L` chunk, the first or behind the extended header's (RFC 9649 §2)."""
    image.fp.seek(12)
    return b"VP8L" in image.fp.read(64)


def _subsampling(image: Any) -> int:
    """Pillow's number for the file's own chroma subsampling; full resolution where it has no number for it."""
    from PIL.JpegImagePlugin import get_sampling

    return max(0, get_sampling(image))


def _in_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA"):
        return image
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, given, srgb, outputMode=image.mode)
    except ImageCms.PyCMSError:  # a profile nobody can read says nothing about colours
        return image
    return converted or image


def _save_animation(image: Any, target: BinaryIO, format_: str) -> Picture:
    frames, durations = [], []
    for frame in ImageSequence.Iterator(image):
        frames.append(frame.convert("RGBA"))
        frames[-1].info = {}
        durations.append(frame.info.get("duration", 0))  # known only once the frame has been decoded
    first, *rest = frames
    options: dict[str, Any] = {"quality": _QUALITY, "method": 2} if format_ == "WEBP" else {"disposal": 2}
    if "loop" in image.info:
        options["loop"] = image.info["loop"]
    first.save(target, format_, save_all=True, append_images=rest, duration=durations, **options)
    return Picture(first.width, first.height, thumbnail_of(first))


def thumbnail_of(image: Image.Image) -> bytes:
    """A small JPEG without metadata; what is transparent becomes white."""
    small = _in_full_colour(image).reduce(_shrinkage(image))
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    if small.mode == "RGBA":
        white = Image.new("RGB", small.size, "white")
        white.paste(small, mask=small.getchannel("A"))
        small = white
    written = io.BytesIO()
    small.convert("RGB").save(written, "JPEG", quality=_THUMBNAIL_QUALITY)
    return written.getvalue()


def _in_full_colour(image: Image.Image) -> Image.Image:
    """As L, RGB or RGBA, which can be averaged; the sixteen bits of an X-ray lose the lower eight."""
    if image.mode.startswith("I"):
        return image.convert("F").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info:
        return image
    return image.convert("RGBA")


def _shrinkage(image: Image.Image) -> int:
    """The whole factor that leaves twice the thumbnail's size: averaging to there is cheaper than filtering."""
    return max(1, max(image.size) // (2 * THUMBNAIL_SIDE))
