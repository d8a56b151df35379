"""The child of `rtc.compose`: `python -m rtc.composing MEMORY_BYTES CPU_SECONDS`, the order on its standard input.

Sound and picture are laid out by the segments' own times instead of by one filter graph for all: a graph that padded,
delayed and mixed late joiners gave half as much sound again as there was. First the sound of each side is decoded into
a file in which what nobody said is a hole; then pictures are chosen frame by frame and everything is encoded.
"""

import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Final

import av
from av.filter import Graph

SIDES: Final = ("doctor", "patient")
TILE: Final = (640, 480)
# A picture is at most half of a fortieth of a second early or late.
PICTURES_A_SECOND: Final = 25
SAMPLES_A_SECOND: Final = 48_000
_SAMPLE_BYTES: Final = 2
_CHUNK: Final = 1024
# Frames of sound that nearly touch are put together: a gap of a few samples is a click.
_TOUCHING_SECONDS: Final = 0.02
# A picture that stands for longer is no picture of now.
_STALE_SECONDS: Final = 2.0
_X264: Final = {"preset": "superfast", "crf": "26", "threads": "1"}
Pieces = Sequence[Mapping[str, Any]]


def packets_of(path: str, kind: str) -> Iterator[Any]:
    """Decoded frames of one kind; what cannot be decoded, like the end of a file whose writer died, is left out."""
    with suppress(av.EOFError), av.open(path, format="matroska") as file:
        streams = [stream for stream in file.streams if stream.type == kind]
        if not streams:
            return
        streams[0].thread_count = 1  # type: ignore[attr-defined]  # of every codec's stream
        packets = file.demux(streams[0])
        while True:
            try:
                packet = next(packets)
                yield from packet.decode()
            except StopIteration:
                return
            except av.InvalidDataError:
                continue


def lay_out_sound(pieces: Pieces, spool: BinaryIO) -> int:
    """Write one side's sound as 16 bit mono where it belongs; the number of samples up to its end."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLES_A_SECOND)
    end = 0
    for piece in pieces:
        cursor: int | None = None
        for frame in packets_of(piece["path"], "audio"):
            place = round((piece["offset"] + float(frame.time or 0.0)) * SAMPLES_A_SECOND)
            if cursor is None or abs(place - cursor) > _TOUCHING_SECONDS * SAMPLES_A_SECOND:
                cursor = max(0, place)
            frame.pts = None
            for part in resampler.resample(frame):
                size = part.samples * _SAMPLE_BYTES
                spool.seek(cursor * _SAMPLE_BYTES)
                spool.write(bytes(part.planes[0])[:size])
                cursor += part.samples
            end = max(end, cursor)
    return end


class Tiles:
    """One side's pictures, each in a tile of its own size."""

    def __init__(self, pieces: Pieces) -> None:
        self._coming = self._frames(pieces)
        self._current: tuple[float, Any] | None = None
        self._next: tuple[float, Any] | None = next(self._coming, None)
        self._shape: tuple[int, int, str] | None = None
        self._graph = Graph()

    @staticmethod
    def _frames(pieces: Pieces) -> Iterator[tuple[float, Any]]:
        for piece in pieces:
            for frame in packets_of(piece["path"], "video"):
                yield piece["offset"] + float(frame.time or 0.0), frame

    @property
    def has_any(self) -> bool:
        """Whether there is a picture at all."""
        return self._next is not None or self._current is not None

    @property
    def goes_on(self) -> bool:
        """Whether a later picture follows."""
        return self._next is not None

    def at(self, seconds: float) -> Any:
        """The tile to show then; to be asked with growing times."""
        taken = None
        while self._next is not None and self._next[0] <= seconds:
            taken, self._next = self._next, next(self._coming, None)
        if taken is not None:
            self._current = (taken[0], self._fitted(taken[1]))
        if self._current is None or seconds - self._current[0] > _STALE_SECONDS:
            return _black()
        return self._current[1]

    def _fitted(self, frame: Any) -> Any:
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:  # browsers change the resolution in the middle of a stream
            self._shape, self._graph = shape, _fitting(frame)
        frame.pts = None
        self._graph.push(frame)
        return self._graph.pull()


def _fitting(frame: Any) -> Graph:
    width, height = TILE
    graph = Graph()
    chain = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format.name, time_base=Fraction(1, PICTURES_A_SECOND)
        ),
        graph.add("scale", f"{width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2"),
        graph.add("pad", f"{width}:{height}:(ow-iw)/2:(oh-ih)/2"),
        graph.add("setsar", "1"),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*chain).configure()
    return graph


def _black() -> Any:
    frame = av.VideoFrame(*TILE, "yuv420p")
    for plane, shade in zip(frame.planes, (16, 128, 128), strict=True):
        plane.update(bytes((shade,)) * plane.buffer_size)
    return frame


class SideBySide:
    """Two tiles beside each other."""

    def __init__(self) -> None:
        width, height = TILE
        graph = self._graph = Graph()
        shape = av.VideoFormat("yuv420p", width, height)
        time_base = Fraction(1, PICTURES_A_SECOND)
        self._sources = [graph.add_buffer(width=width, height=height, format=shape, time_base=time_base) for _ in SIDES]
        stack, sink = graph.add("hstack"), graph.add("buffersink")
        for place, source in enumerate(self._sources):
            source.link_to(stack, 0, place)
        stack.link_to(sink)
        graph.configure()

    def add(self, number: int, tiles: Sequence[Any]) -> Iterator[Any]:
        """The frames that are ready once frame `number` has come."""
        for source, tile in zip(self._sources, tiles, strict=True):
            tile.pts, tile.time_base = number, Fraction(1, PICTURES_A_SECOND)
            source.push(tile)
        return _pulled(self._graph)

    def end(self) -> Iterator[Any]:
        """The rest."""
        for source in self._sources:
            source.push(None)
        return _pulled(self._graph)


class Mixed:
    """The sides' spooled sound, added up."""

    def __init__(self, spools: Sequence[BinaryIO]) -> None:
        self._spools, self._at = spools, 0
        graph = self._graph = Graph()
        how = {"sample_rate": SAMPLES_A_SECOND, "format": "s16", "layout": "mono"}
        self._sources = [graph.add_abuffer(time_base=Fraction(1, SAMPLES_A_SECOND), **how) for _ in spools]  # type: ignore[arg-type]  # names and values of one mapping
        mix, sink = graph.add("amix", f"inputs={len(spools)}:normalize=0"), graph.add("abuffersink")
        for place, source in enumerate(self._sources):
            source.link_to(mix, 0, place)
        mix.link_to(sink)
        graph.configure()
        for spool in spools:
            spool.seek(0)

    def until(self, samples: int) -> Iterator[Any]:
        """Mixed frames, so that all up to that sample has been fed."""
        while self._at < samples:
            for source, spool in zip(self._sources, self._spools, strict=True):
                data = spool.read(_CHUNK * _SAMPLE_BYTES).ljust(_CHUNK * _SAMPLE_BYTES, b"\0")
                frame = av.AudioFrame(format="s16", layout="mono", samples=_CHUNK)
                frame.sample_rate, frame.pts = SAMPLES_A_SECOND, self._at
                frame.time_base = Fraction(1, SAMPLES_A_SECOND)
                frame.planes[0].update(data.ljust(frame.planes[0].buffer_size, b"\0"))
                source.push(frame)
            self._at += _CHUNK
            yield from _pulled(self._graph)

    def end(self) -> Iterator[Any]:
        """The rest."""
        for source in self._sources:
            source.push(None)
        return _pulled(self._graph)


def _pulled(graph: Graph) -> Iterator[Any]:
    while True:
        try:
            yield graph.pull()
        except (BlockingIOError, av.EOFError):  # nothing more for now, or at all
            return


def compose(pieces: Pieces, target: str) -> dict[str, float]:
    """Write the film; its seconds and its number of pictures."""
    by_side = [[piece for piece in pieces if piece["side"] == side] for side in SIDES]
    folder = str(Path(target).parent)
    with tempfile.TemporaryFile(dir=folder) as left, tempfile.TemporaryFile(dir=folder) as right:
        spools = (left, right)
        samples = max(lay_out_sound(side, spool) for side, spool in zip(by_side, spools, strict=True))
        tiles = [Tiles(side) for side in by_side]
        with av.open(target, "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as film:
            if any(tile.has_any for tile in tiles):
                return _with_pictures(film, tiles, Mixed(spools), samples)
            sound = film.add_stream("aac", rate=SAMPLES_A_SECOND, layout="mono")
            sound.bit_rate = 64_000
            mixed = Mixed(spools)
            for part in (*mixed.until(samples), *mixed.end()):
                film.mux(sound.encode(part))
            film.mux(sound.encode(None))
    return {"duration": samples / SAMPLES_A_SECOND, "pictures": 0}


def _with_pictures(film: Any, tiles: Sequence[Tiles], mixed: Mixed, samples: int) -> dict[str, float]:
    picture = film.add_stream("libx264", rate=PICTURES_A_SECOND, options=_X264)
    picture.width, picture.height, picture.pix_fmt = TILE[0] * len(SIDES), TILE[1], "yuv420p"
    sound = film.add_stream("aac", rate=SAMPLES_A_SECOND, layout="mono")
    sound.bit_rate = 64_000
    both, number = SideBySide(), 0
    # Pictures go on as long as there is sound, and sound as long as there are pictures.
    while number / PICTURES_A_SECOND < samples / SAMPLES_A_SECOND or any(tile.goes_on for tile in tiles):
        seconds = (number + 0.5) / PICTURES_A_SECOND
        for frame in both.add(number, [tile.at(seconds) for tile in tiles]):
            film.mux(picture.encode(frame))
        number += 1
        for part in mixed.until(number * SAMPLES_A_SECOND // PICTURES_A_SECOND):
            film.mux(sound.encode(part))
    for stream, rest in ((picture, both.end()), (sound, mixed.end())):
        for frame in rest:
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    return {"duration": number / PICTURES_A_SECOND, "pictures": number}


def main(memory: int, seconds: int) -> None:
    """One order; what was made on the standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(15)  # calls and people's requests come first
    av.logging.set_level(None)
    order = json.load(sys.stdin)
    json.dump(compose(order["pieces"], order["target"]), sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
