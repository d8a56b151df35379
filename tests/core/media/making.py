"""Files as telephones, browsers and attackers send them, made on the spot."""

import io
import struct
import zlib
from typing import Any

import av
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

# What must be found nowhere in what is served: a place, and a word put into every comment.
PLACE = b"31.2304"
MARK = "PRIVATE-MARK"

PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64)


def a_picture(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Left half red, right half blue, so that one sees which side is up."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return image.convert(mode)


def located_exif(orientation: int = 1) -> Image.Exif:
    """EXIF with GPS position, device and comment."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = MARK
    gps = exif.get_ifd(0x8825)
    gps.update({1: "N", 2: (31.0, 13.0, 49.0), 3: "E", 4: (121.0, 28.0, 25.0), 29: "2026:01:01"})
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + MARK.encode()
    return exif


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, format_, **options)
    return written.getvalue()


def a_jpeg(width: int = 64, height: int = 48, *, orientation: int = 1, **options: Any) -> bytes:
    """With EXIF, XMP and a comment."""
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{MARK}</x:xmpmeta>".encode()
    options = {"exif": located_exif(orientation), "comment": MARK, "xmp": xmp, "quality": 90} | options
    return encoded(a_picture(width, height), "JPEG", **options)


def a_png(width: int = 64, height: int = 48, mode: str = "RGB") -> bytes:
    """With text chunks and EXIF."""
    said = PngInfo()
    said.add_text("Comment", MARK)
    said.add_itxt("XML:com.adobe.xmp", MARK)
    return encoded(a_picture(width, height, mode), "PNG", pnginfo=said, exif=located_exif())


def a_webp(**options: Any) -> bytes:
    return encoded(a_picture(), "WEBP", exif=located_exif(), xmp=MARK.encode(), **options)


def an_animation(format_: str, frames: int = 3) -> bytes:
    steps = [Image.new("RGB", (40, 30), (80 * step, 0, 0)) for step in range(frames)]
    comment: dict[str, Any] = {"comment": MARK.encode()} if format_ == "GIF" else {"exif": located_exif()}
    return encoded(steps[0], format_, save_all=True, append_images=steps[1:], duration=100, loop=0, **comment)


def a_profiled_jpeg() -> bytes:
    """With a colour profile that is not sRGB's, and a mark in it."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    return encoded(a_picture(), "JPEG", icc_profile=profile.tobytes() + MARK.encode())


def a_png_bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A few bytes that announce billions of pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(*part) for part in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def a_polyglot() -> bytes:
    """A JPEG that is also a web page and a ZIP archive's end."""
    return a_jpeg(comment=f"<html><script>{MARK}</script>") + b"<script>alert(1)</script>PK\x05\x06" + bytes(18)


def a_video(
    container: str = "mp4", *, video: str = "libx264", audio: str | None = "aac", frames: int = 25, side: int = 160
) -> bytes:
    """One second at 25 frames, `side` wide and three quarters of it high, with the place in its metadata."""
    written = io.BytesIO()
    place = "+31.2304+121.4737/"
    options = {"movflags": "use_metadata_tags"} if container in ("mp4", "mov") else {}
    with av.open(written, "w", format=container, options=options) as made:
        made.metadata.update(
            {
                "location": place,
                "com.apple.quicktime.location.ISO6709": place,
                "title": MARK,
            }
        )
        seen = made.add_stream(video, rate=25)
        seen.width, seen.height, seen.pix_fmt = side, side * 3 // 4, "yuv420p"
        heard = made.add_stream(audio, rate=48_000) if audio else None
        for step in range(frames):
            image = Image.new("RGB", (seen.width, seen.height), (step * 10 % 256, 90, 40))
            made.mux(seen.encode(av.VideoFrame.from_image(image)))
        made.mux(seen.encode())
        if heard is not None:
            _add_silence(made, heard, seconds=frames / 25)
    return written.getvalue()


def _add_silence(made: Any, heard: Any, seconds: float) -> None:
    samples = 960
    for step in range(int(seconds * 48_000 / samples)):
        sound = av.AudioFrame(format="fltp" if heard.name == "aac" else "s16", layout="stereo", samples=samples)
        for plane in sound.planes:
            plane.update(bytes(plane.buffer_size))
        sound.sample_rate, sound.pts = 48_000, step * samples
        made.mux(heard.encode(sound))
    made.mux(heard.encode())


def turned(video: bytes) -> bytes:
    """The same MP4, to be shown turned by a quarter clockwise: the matrix of its first track (ISO 14496-12 §8.3.2)."""
    found = bytearray(video)
    at = found.find(b"tkhd") + 4 + 4 + 20 + 16
    found[at : at + 36] = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    return bytes(found)


def opened(data: bytes) -> Any:
    """The image or, for av, the container in these bytes."""
    return Image.open(io.BytesIO(data))


def film(data: bytes) -> Any:
    return av.open(io.BytesIO(data))
