"""Tiny clips, encoded once a run: what the test's peers send."""

import functools
from fractions import Fraction
from typing import Final

import av

WIDTH: Final = 160
HEIGHT: Final = 120
FRAMES_A_SECOND: Final = 25
_SECONDS: Final = 4
_FRAMES: Final = _SECONDS * FRAMES_A_SECOND
_ENCODERS: Final = {
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "error-resilient": "1"}),
    "h264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}),
}


@functools.cache
def pictures(codec: str, width: int = WIDTH, height: int = HEIGHT, count: int = _FRAMES) -> tuple[bytes, ...]:
    """Encoded frames of a moving picture, every fifth of a second a key frame."""
    name, options = _ENCODERS[codec]
    encoder = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FRAMES_A_SECOND), FRAMES_A_SECOND
    encoder.bit_rate, encoder.gop_size, encoder.options = 300_000, FRAMES_A_SECOND // 5, options
    packets = []
    for number in range(count):
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane, shade in zip(frame.planes, (40 + number, 128, 100), strict=True):
            row = bytes((shade + 3 * column) % 256 for column in range(plane.line_size))
            plane.update(row * plane.height)
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return tuple(bytes(packet) for packet in packets)


@functools.cache
def sounds(count: int = _SECONDS * 50) -> tuple[bytes, ...]:
    """Opus packets of 20 ms with a tone."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "s16"
    encoder.time_base, encoder.bit_rate = Fraction(1, 48_000), 24_000
    packets = []
    for number in range(count):
        frame = av.AudioFrame(format="s16", layout="stereo", samples=960)
        frame.sample_rate, frame.pts = 48_000, number * 960
        tone = (8000 if sample // 48 % 2 else -8000 for sample in range(960))
        frame.planes[0].update(b"".join(value.to_bytes(2, "little", signed=True) * 2 for value in tone))
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return tuple(bytes(packet) for packet in packets)
