"""The files of a recording: encoded frames copied into WebM or Matroska, one file a segment, by the writer's thread.

These containers are read to where they end, so that a process may die at any moment; MP4 would be lost with it.
"""

import functools
import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer

from rtc.frames import picture_size

# A cluster is written when it is complete: with the half second between two batches at most 1.5 s are lost.
_CLUSTER_MILLISECONDS: Final = 1000
_RATES: Final = {"audio": 48_000, "video": 90_000}
_TIME_BASES: Final = {kind: Fraction(1, rate) for kind, rate in _RATES.items()}
SUFFIXES: Final = {"vp8": ".webm", "h264": ".mkv", "": ".webm"}
_FORMATS: Final = {".webm": "webm", ".mkv": "matroska"}


class Sample(NamedTuple):
    """One encoded frame of sound or picture at its place, in seconds of the recording."""

    kind: str
    codec: str
    seconds: float
    data: bytes
    is_key: bool


@functools.cache
def _opus_template() -> AudioStream:
    """A stream whose header says what browsers send: Opus, 48 kHz, two channels. Encoders write it, so one is asked."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="webm") as made:
        stream = made.add_stream("libopus", rate=_RATES["audio"], layout="stereo")
        silence = av.AudioFrame(format="s16", layout="stereo", samples=960)
        silence.sample_rate = _RATES["audio"]
        silence.pts = 0
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        made.mux([*stream.encode(silence), *stream.encode(None)])
    memory.seek(0)
    return av.open(memory).streams.audio[0]


class SegmentFile:
    """One file while it is written; its time begins at `offset` seconds of the recording."""

    def __init__(self, path: Path, samples: Sequence[Sample]) -> None:
        """A file for the kinds and codecs among `samples`; the first `write` makes it. Raises `av.FFmpegError`."""
        self.path = path
        self.offset = max(0.0, min(sample.seconds for sample in samples))
        self.duration = 0.0
        self._last: dict[str, int] = {}
        options = {
            "cluster_time_limit": str(_CLUSTER_MILLISECONDS),
            "flush_packets": "1",
            "fflags": "+bitexact",  # no name and version of the program in a file that is evidence
        }
        self._file: OutputContainer = av.open(str(path), "w", format=_FORMATS[path.suffix], options=options)
        self._streams: dict[str, Any] = {}
        first: dict[str, Sample] = {}
        for sample in samples:
            if sample.is_key:
                first.setdefault(sample.kind, sample)
        for kind in sorted(first, reverse=True):  # the picture first, as players expect it
            self._streams[kind] = self._add(first[kind])

    def _add(self, sample: Sample) -> Any:
        if sample.kind == "audio":
            return self._file.add_stream_from_template(_opus_template())
        width, height = picture_size(sample.codec, sample.data)
        stream: Any = self._file.add_mux_stream(sample.codec, rate=30, width=width, height=height)
        stream.time_base = _TIME_BASES["video"]
        return stream

    def write(self, samples: Sequence[Sample]) -> None:
        """Append; what comes before the last of its kind moves behind it. Raises OSError or `av.FFmpegError`."""
        for sample in sorted(samples, key=lambda one: one.seconds):
            stream = self._streams.get(sample.kind)
            if stream is None:
                continue
            at = max(0.0, sample.seconds - self.offset)
            ticks = max(round(at * _RATES[sample.kind]), self._last.get(sample.kind, -1) + 1)
            self._last[sample.kind] = ticks
            self.duration = max(self.duration, ticks / _RATES[sample.kind])
            packet = av.Packet(sample.data)
            packet.pts = packet.dts = ticks
            packet.time_base = _TIME_BASES[sample.kind]
            packet.stream = stream
            packet.is_keyframe = sample.is_key
            self._file.mux_one(packet)

    def close(self) -> None:
        """Complete the file. Raises OSError or `av.FFmpegError`."""
        self._file.close()


def length_of(path: Path) -> float | None:
    """Seconds that a file holds, by reading it: one whose writer died does not tell. None when it cannot be read."""
    try:
        with av.open(str(path), format="matroska") as file:
            ends = [
                float((packet.pts + (packet.duration or 0)) * packet.time_base)
                for packet in file.demux()
                if packet.pts is not None
            ]
    except (av.FFmpegError, OSError):
        return None
    return max(ends, default=None)
