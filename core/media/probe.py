"""A child of the workshop, and the only place that opens videos: `python -m core.media.probe MEMORY_BYTES SECONDS`.

Takes one order after the other on its standard input and answers on its standard output (`core/media/frames.py`). It
trusts nothing it reads: its memory is limited for good, its processor time and the size of what it writes for each
order, its files have no names, so that nothing is left when it is killed, and its parent gives it no secrets.

Videos keep their compressed streams, copied into a new container that gets none of the old one's metadata: place, time
and device go with the container, timed metadata tracks (telephones log positions there) are not copied.
"""

import os
import resource
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO, Final, cast

import av
from av.container import InputContainer
from av.stream import Stream
from PIL import Image

from core.media import pictures
from core.media.frames import PREFIX_BYTES, Answer, Order, Unfit, length_of, pack, unpack
from core.policy import MIB

# What each container may hold, by FFmpeg's canonical names: what phones and browsers write and browsers play.
_CODECS: Final = {
    "mp4": {"video": {"h264", "hevc", "vp9", "av1"}, "audio": {"aac", "mp3", "opus"}},
    "webm": {"video": {"vp8", "vp9", "av1"}, "audio": {"opus"}},
}
# Only this demuxer is tried: playlists and lists of files (hls, concat), which would have us read more than we were
# given, can then never be met.
_DEMUXERS: Final = {"mp4": "mp4", "mov": "mov", "webm": "matroska"}
# And should a demuxer want to open something else than what it was given, it can by no means do so.
_NO_PROTOCOL: Final = "none"
# Packets a player would miss without anybody noticing; a file cut short lacks far more.
_MISSING: Final = 0.05
_COPIED_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class Film:
    """Size as shown (turned), length in seconds, and the first frame as a small JPEG."""

    width: int
    height: int
    duration: float
    poster: bytes


def clean_video(source: BinaryIO, target: str, type_: str, pixels: int) -> Film:
    """Copy the streams of `source` into a clean container at the path `target`.

    Raises `Unfit` for streams no browser plays, for more than `pixels` a frame and for files that end too early, and
    what PyAV does for a broken one.
    """
    container = "webm" if type_ == "webm" else "mp4"
    with _opened(source, type_) as came:
        video, audio = _playable(came, _CODECS[container])
        if video.codec_context.width * video.codec_context.height > pixels:
            raise Unfit("too_many_pixels")
        seconds, index = _copy(came, [video, *audio], target, container), video.index
    source.seek(0)
    with _opened(source, type_) as again:
        frame = _first_frame(again, index)
    if frame.width * frame.height > pixels:  # a frame may be larger than its container says
        raise Unfit("too_many_pixels")
    picture = _upright(frame)
    width, height = (frame.height, frame.width) if frame.rotation % 180 else (frame.width, frame.height)
    return Film(width, height, round(seconds, 3), pictures.thumbnail_of(picture))


def _opened(source: BinaryIO, type_: str) -> InputContainer:
    # Metadata in whatever encoding a telephone chose is no fault of the film, and is not kept anyway.
    options = {"protocol_whitelist": _NO_PROTOCOL}
    return cast(InputContainer, av.open(source, format=_DEMUXERS[type_], options=options, metadata_errors="replace"))


def _playable(came: InputContainer, codecs: dict[str, set[str]]) -> tuple[Any, list[Any]]:
    """The first moving picture and the first sound that may stay; a file that has sound keeps one."""
    moving = [one for one in came.streams.video if not one.disposition & av.stream.Disposition.attached_pic]
    sounds = [one for one in came.streams.audio if _codec(one) in codecs["audio"]]
    if not moving or _codec(moving[0]) not in codecs["video"] or (came.streams.audio and not sounds):
        raise Unfit("codec")
    return moving[0], sounds[:1]


def _codec(stream: Stream) -> str:
    # A stream whose codec this build does not know has no context at all.
    context = stream.codec_context
    return context.codec.canonical_name if context is not None else ""


def _copy(came: InputContainer, streams: list[Any], target: str, container: str) -> float:
    """Copy the packets; the length in seconds that was really there. `Unfit("damaged")` when much of it was not."""
    options = {"fflags": "+bitexact"} | ({"movflags": "+faststart"} if container == "mp4" else {})
    counted = dict.fromkeys((one.index for one in streams), 0)
    begin: dict[int, Fraction] = {}
    end: dict[int, Fraction] = {}
    with av.open(target, "w", format=container, options=options) as clean:
        copies = {one.index: clean.add_stream_from_template(one, opaque=True) for one in streams}
        for one in streams:
            if _codec(one) == "hevc":
                copies[one.index].codec_context.codec_tag = "hvc1"  # the only spelling that Apple's players take
        for packet in came.demux(*streams):
            if packet.dts is None:  # the empty packet that ends a stream
                continue
            index = packet.stream.index
            if packet.pts is not None and packet.time_base is not None:
                at = packet.pts * packet.time_base
                begin[index] = min(begin.get(index, at), at)
                end[index] = max(end.get(index, at), at + (packet.duration or 0) * packet.time_base)
            counted[index] += 1
            packet.stream = copies[index]
            clean.mux(packet)
    length = float(max((end[index] - begin[index] for index in end), default=Fraction(0)))
    announced = float(came.duration / av.time_base) if came.duration else 0.0
    cut_short = any(counted[one.index] < one.frames * (1 - _MISSING) for one in streams)
    if length <= 0 or cut_short or length < announced * (1 - _MISSING) - 0.5:
        raise Unfit("damaged")
    return length


def _first_frame(came: InputContainer, index: int) -> av.VideoFrame:
    stream = came.streams[index]
    stream.codec_context.thread_count = 1  # one frame: threads only cost memory
    for frame in came.decode(stream):
        if isinstance(frame, av.VideoFrame):
            return frame
    raise Unfit("damaged")


def _upright(frame: av.VideoFrame) -> Image.Image:
    scale = min(1.0, pictures.THUMBNAIL_SIDE / max(frame.width, frame.height))
    width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    small: Image.Image = frame.to_image(width=width, height=height)  # type: ignore[no-untyped-call]  # PyAV's stub lacks it
    return small.rotate(frame.rotation, expand=True) if frame.rotation else small


def _examine(order: Order, source: BinaryIO, target: BinaryIO) -> tuple[Answer, bytes]:
    if order["type"] in _DEMUXERS:
        film = clean_video(source, f"/proc/self/fd/{target.fileno()}", order["type"], order["pixels"])
        width, height, duration, thumbnail = film.width, film.height, film.duration, film.poster
    else:
        picture = pictures.clean(source, target, order["type"], order["pixels"])
        width, height, duration, thumbnail = picture.width, picture.height, None, picture.thumbnail
    size = target.seek(0, os.SEEK_END)
    facts = {"width": width, "height": height, "duration": duration}
    return Answer(why=None, error=None, size=size, thumbnail_size=len(thumbnail), **facts), thumbnail  # type: ignore[typeddict-item]  # the keys are those of Answer


def _refused(why: Any, error: str | None) -> Answer:
    return Answer(why=why, error=error, size=0, thumbnail_size=0, width=0, height=0, duration=None)


def _serve(order: Order, asked: BinaryIO, answers: BinaryIO, seconds: int) -> None:
    """One order: spool, examine, answer. Whatever a decoder raises for a hostile file is an answer, not an end."""
    _limit_order(order["size"], seconds)
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        _spool(asked, source, order["size"])
        try:
            answer, thumbnail = _examine(order, source, target)
        except Unfit as unfit:
            answer, thumbnail = _refused(unfit.why, unfit.error), b""
        except MemoryError:
            answer, thumbnail = _refused("too_demanding", "MemoryError"), b""
        except Exception as error:  # decoders raise anything from SyntaxError to ZeroDivisionError for broken files
            answer, thumbnail = _refused("damaged", type(error).__name__), b""
        answers.write(pack(answer))
        if answer["why"] is None:
            target.seek(0)
            shutil.copyfileobj(target, answers, _COPIED_BYTES)
            answers.write(thumbnail)
        answers.flush()


def _spool(asked: BinaryIO, source: BinaryIO, size: int) -> None:
    while size:
        piece = asked.read(min(size, _COPIED_BYTES))
        if not piece:
            raise EOFError("the parent went away in the middle of a file")
        source.write(piece)
        size -= len(piece)
    source.seek(0)


def _limit_process(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    os.nice(10)  # people's requests come first


def _limit_order(size: int, seconds: int) -> None:
    """Soft limits, set anew for each order: processor time counts on from what has been used."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(spent.ru_utime + spent.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * size + 64 * MIB, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def main(memory: int, seconds: int) -> None:
    """Serve until the parent closes the pipe."""
    _limit_process(memory)
    warnings.simplefilter("ignore")
    av.logging.set_level(None)
    asked = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not speak to the parent
    while len(prefix := asked.read(PREFIX_BYTES)) == PREFIX_BYTES:
        _serve(unpack(asked.read(length_of(prefix))), asked, answers, seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
