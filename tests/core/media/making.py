"""Files as telephones, browsers and attackers send them, made on the spot."""

import io
import struct
import zlib
from typing import Any

import av
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from core.policy import MIB

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


def _png_with(name: bytes, start: bytes) -> bytes:
    """A PNG with a chunk that unpacks to a hundred MiB, a thousand times its size."""
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(MIB)) for _ in range(100)) + packer.flush()
    pixels = zlib.compress(bytes(8 * 25))
    parts = ((b"IHDR", header), (name, start + packed), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def a_text_bomb() -> bytes:
    """A small PNG whose comment is a hundred MiB long."""
    return _png_with(b"zTXt", b"Comment\0\0")


def a_profile_bomb() -> bytes:
    """A small PNG whose colour profile is a hundred MiB long."""
    return _png_with(b"iCCP", b"profile\0\0")


def a_gif_of_many_frames(count: int) -> bytes:
    """A GIF of so many frames of 64 by 48 pixels, each a few bytes long."""
    return encoded(a_picture(mode="P"), "GIF")[:-1] + _SMALL_FRAME * count + b"\x3b"


# An image descriptor of one pixel, and its LZW data (GIF89a §20-22).
_SMALL_FRAME = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"


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


SCRIPT = b"<script>alert(1)</script>"
ARCHIVE = b"PK\x03\x04" + bytes(26) + b"Evil.class" + b"PK\x05\x06" + bytes(18)


def a_gifar() -> bytes:
    """A GIF that is a Java archive as well, and a page in its comment."""
    return encoded(a_picture(mode="P"), "GIF", comment=SCRIPT) + ARCHIVE


def a_page_in_a_png() -> bytes:
    """A PNG with a page in its text, another behind its end."""
    said = PngInfo()
    said.add_text("html", SCRIPT.decode())
    return encoded(a_picture(), "PNG", pnginfo=said) + b"<html>" + SCRIPT


def a_page_in_a_webp() -> bytes:
    """A WebP with a page in its XMP and an archive behind it."""
    return encoded(a_picture(), "WEBP", xmp=SCRIPT) + ARCHIVE


def a_page_in_an_mp4() -> bytes:
    """A film with a page in a box that players skip, and an archive behind it."""
    return a_video(frames=5) + box(b"free", b"<html>" + SCRIPT) + ARCHIVE


def a_pdf_with_a_script() -> bytes:
    """A document that runs a script when it is opened, and is an archive as well."""
    action = b"<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>"
    return b"%PDF-1.7\n1 0 obj" + action + b"endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n" + SCRIPT + ARCHIVE


def box(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """A box of an MP4 (ISO 14496-12 §4.2), of whatever size it claims to have."""
    return struct.pack(">I", len(body) + 8 if size is None else size) + name + body


def boxes(data: bytes) -> dict[bytes, bytes]:
    """The bodies of the boxes in this body, by name; the last of each."""
    found, at = {}, 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found[data[at + 4 : at + 8]] = data[at + 8 : at + size]
        at += size
    return found


FTYP = box(b"ftyp", b"isom\x00\x00\x02\x00isomiso2avc1mp41")


def a_film_of_many_tracks(count: int) -> bytes:
    """An MP4 whose index has its one track so many times."""
    whole = boxes(a_video(audio=None, frames=5))
    index = boxes(whole[b"moov"])
    moov = box(b"mvhd", index[b"mvhd"]) + box(b"trak", index[b"trak"]) * count
    return FTYP + box(b"mdat", whole[b"mdat"]) + box(b"moov", moov)


def a_deep_film(depth: int = 20_000) -> bytes:
    """An MP4 whose index has an index has an index …"""
    nested = b""
    for _ in range(depth):
        nested = box(b"moov", nested) if len(nested) < 1_000 else box(b"trak", nested)
    return FTYP + nested


def an_endless_film() -> bytes:
    """An MP4 whose index never ends: it claims eight exabytes."""
    return FTYP + struct.pack(">I4sQ", 1, b"moov", 2**63 - 1) + box(b"mvhd", bytes(100)) * 500


def a_film_of_many_samples() -> bytes:
    """An MP4 whose tables announce four thousand million samples that are not there."""
    data = bytearray(a_video(audio=None, frames=5))
    for name, at in ((b"stts", 8), (b"stsz", 12), (b"stsc", 8), (b"stco", 8)):
        start = data.find(name) + at
        data[start : start + 4] = b"\xff\xff\xff\xf0"
    return bytes(data)


def a_film_of_long_samples() -> bytes:
    """An MP4 that says one duration holds for two thousand million samples, each of two thousand million bytes."""
    data = bytearray(a_video(audio=None, frames=5))
    start = data.find(b"stts") + 12
    data[start : start + 4] = b"\x7f\xff\xff\xf0"
    start = data.find(b"stsz") + 8
    data[start : start + 8] = b"\x7f\xff\xff\xf0" * 2
    return bytes(data)


def a_huge_film(width: int = 16_383, height: int = 16_383) -> bytes:
    """A WebM whose first frame says in itself that it is larger than its container says (RFC 6386 §9.1)."""
    data = bytearray(a_video("webm", video="libvpx", audio=None, frames=5))
    start = data.find(b"\x9d\x01\x2a") + 3
    data[start : start + 4] = struct.pack("<HH", width, height)
    return bytes(data)


def an_alias(path: str) -> bytes:
    """The record by which a Macintosh finds a file: volume, name, levels, and the path in an entry of type 2."""
    said = path.replace("/", ":").encode()
    name = said.rpartition(b":")[2]
    fixed = bytes(10) + b"\x00" + bytes(27) + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)
    levels = struct.pack(">hh", 1, 1) + bytes(16)
    return fixed + levels + struct.pack(">HH", 2, len(said)) + said + bytes(len(said) % 2) + b"\xff\xff\0\0"


def a_film_elsewhere(path: str) -> bytes:
    """A QuickTime film whose samples are not in it but in another file (QuickTime file format, data references)."""
    data = a_video("mov", audio=None, frames=5)
    start = data.find(b"dref") - 4
    end = start + int.from_bytes(data[start : start + 4], "big")
    entry = box(b"alis", bytes(4) + an_alias(path))
    entries = box(b"dref", bytes(4) + struct.pack(">I", 1) + entry)
    grown = len(entries) - (end - start)
    spoiled = bytearray(data[:start] + entries + data[end:])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        # The video's own media header box comes before its information box, so the last one found is the one around.
        at = spoiled.rfind(name, 0, start) - 4
        size = int.from_bytes(spoiled[at : at + 4], "big") + grown
        spoiled[at : at + 4] = struct.pack(">I", size)
    return bytes(spoiled)


def opened(data: bytes) -> Any:
    """The image or, for av, the container in these bytes."""
    return Image.open(io.BytesIO(data))


def film(data: bytes) -> Any:
    return av.open(io.BytesIO(data))
