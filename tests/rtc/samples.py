"""Encoded frames at their time, and what a finished file holds."""

from pathlib import Path

import av

from rtc.segments import Sample
from tests.rtc.clips import FRAMES_A_SECOND, pictures, sounds


def sound(seconds: float, count: int) -> list[Sample]:
    """So many packets of sound from then on."""
    return [Sample("audio", "opus", seconds + place / 50, sounds()[place], True) for place in range(count)]


def picture(seconds: float, count: int, codec: str = "vp8") -> list[Sample]:
    """So many pictures from then on, the first a key frame."""
    clip = pictures(codec)
    return [
        Sample("video", codec, seconds + place / FRAMES_A_SECOND, clip[place], place % 5 == 0) for place in range(count)
    ]


def times(path: Path, kind: str) -> list[float]:
    """When the file shows or plays its decoded frames, in seconds."""
    with av.open(str(path)) as file:
        streams = [stream for stream in file.streams if stream.type == kind]
        return [round(float(frame.time), 3) for frame in file.decode(streams[0])] if streams else []
