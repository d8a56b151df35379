import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.media.frames import Order, Unfit
from core.media.workshop import Workshop, WorkshopFull, memory_for
from core.policy import MIB
from tests.core.media import making
from tests.core.media.conftest import until


@pytest.fixture
def open_workshop(io_loop):
    """Opens workshops and closes them after the test."""
    opened: list[Workshop] = []

    async def open_(**options) -> Workshop:
        workshop = Workshop(**options)
        opened.append(workshop)
        await workshop.start()
        return workshop

    yield open_
    for workshop in opened:
        io_loop.run_sync(workshop.stop)


async def pieces_of(data: bytes):
    for start in range(0, len(data), 70_000):
        yield data[start : start + 70_000]


async def examine(workshop: Workshop, data: bytes, type_: str, pixels: int = 50_000_000):
    kept = bytearray()

    async def keep(piece: bytes) -> None:
        kept.extend(piece)

    order = Order(type=type_, size=len(data), pixels=pixels)
    return await workshop.examine(order, pieces_of(data), keep), bytes(kept)


@pytest.mark.gen_test
async def test_the_work_is_done_in_another_process(open_workshop):
    workshop = await open_workshop()
    findings, kept = await examine(workshop, making.a_jpeg(200, 100), "jpeg")
    assert (findings.width, findings.height, findings.duration) == (200, 100, None)
    assert making.opened(kept).size == (200, 100)
    assert making.opened(findings.thumbnail).size == (200, 100)
    assert findings.child != os.getpid()
    assert workshop.children == {findings.child}


def test_the_server_itself_loads_no_decoder():
    loaded = "import core.media.handlers, core.media.jobs, sys; print({'av', 'PIL'} & set(sys.modules))"
    root = Path(__file__).parents[3]
    said = subprocess.run(
        [sys.executable, "-c", loaded], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.strip() == "set()"


@pytest.mark.gen_test
async def test_a_video_is_examined_in_the_child_as_well(open_workshop):
    findings, kept = await examine(await open_workshop(), making.a_video(), "mp4")
    assert (findings.width, findings.height, findings.duration) == (160, 120, pytest.approx(1.0, abs=0.05))
    assert making.PLACE not in kept


@pytest.mark.gen_test
async def test_a_child_serves_one_file_after_the_other(open_workshop):
    workshop = await open_workshop(concurrency=1)
    children = {(await examine(workshop, making.a_png(), "png"))[0].child for _ in range(3)}
    assert len(children) == 1


@pytest.mark.gen_test
async def test_a_child_is_replaced_after_its_share_of_files(open_workshop, monkeypatch):
    monkeypatch.setattr("core.media.workshop._FILES_A_CHILD", 2)
    workshop = await open_workshop(concurrency=1)
    with capture_logs() as logs:
        children = [(await examine(workshop, making.a_png(), "png"))[0].child for _ in range(3)]
    assert children[0] == children[1] != children[2]
    assert workshop.children == {children[2]}
    assert logs == []


@pytest.mark.gen_test
async def test_children_work_beside_each_other_and_never_more_than_allowed(open_workshop):
    workshop = await open_workshop(concurrency=2)
    done = await asyncio.gather(*(examine(workshop, making.a_jpeg(800, 600), "jpeg") for _ in range(6)))
    assert {findings.child for findings, _ in done} == workshop.children
    assert len(workshop.children) == 2


@pytest.mark.gen_test
async def test_a_broken_file_is_an_answer_and_the_child_stays(open_workshop):
    workshop = await open_workshop(concurrency=1)
    whole, _ = await examine(workshop, making.a_jpeg(), "jpeg")
    for data, type_ in (
        (making.a_jpeg()[:900], "jpeg"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "png"),
        (bytes(999), "mp4"),
    ):
        with pytest.raises(Unfit, match="damaged"):
            await examine(workshop, data, type_)
    assert workshop.children == {whole.child}


@pytest.mark.gen_test
async def test_a_bomb_is_refused(open_workshop):
    with pytest.raises(Unfit, match="too_many_pixels"):
        await examine(await open_workshop(), making.a_png_bomb(), "png")


@pytest.mark.gen_test(timeout=20)
async def test_a_file_that_needs_too_much_memory_is_refused_and_its_child_replaced(open_workshop):
    workshop = await open_workshop(concurrency=1, memory_bytes=400 * MIB)
    before, _ = await examine(workshop, making.a_png(), "png")
    with pytest.raises(Unfit, match="too_demanding"):
        await examine(workshop, making.a_png_bomb(12_000, 12_000), "png", pixels=200_000_000)
    after, _ = await examine(workshop, making.a_png(), "png")
    assert after.child != before.child
    assert workshop.children == {after.child}


@pytest.mark.gen_test(timeout=20)
async def test_the_memory_for_an_image_is_enough_for_it(open_workshop):
    pixels = 4_000_000
    workshop = await open_workshop(concurrency=1, memory_bytes=memory_for(pixels))
    picture = making.a_picture(2000, 2000, "RGBA")
    for format_, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("WEBP", {})):
        data = making.encoded(picture, format_, exif=making.located_exif(6), **options)
        findings, _ = await examine(workshop, data, format_.lower(), pixels)
        assert (findings.width, findings.height) == (2000, 2000)


@pytest.mark.gen_test(timeout=20)
async def test_a_file_that_takes_too_long_is_refused_and_its_child_killed(open_workshop):
    workshop = await open_workshop(concurrency=1, seconds=0.01)
    with pytest.raises(Unfit, match="too_demanding") as refusal:
        await examine(workshop, making.a_png(3000, 3000), "png")
    assert refusal.value.error == "TimeoutError"
    assert workshop.children == set()


@pytest.mark.gen_test
async def test_a_child_that_dies_in_the_middle_costs_only_its_file(open_workshop):
    workshop = await open_workshop(concurrency=1)
    data = making.a_jpeg()

    async def until_killed():
        yield data[:100]
        for child in workshop.children:
            os.kill(child, signal.SIGKILL)
        await until(lambda: not workshop.children)
        yield data[100:]

    async def keep(piece: bytes) -> None:
        raise AssertionError("nothing can have come")

    with pytest.raises(Unfit, match="too_demanding"):
        await workshop.examine(Order(type="jpeg", size=len(data), pixels=1_000_000), until_killed(), keep)
    assert (await examine(workshop, data, "jpeg"))[0].width == 64


@pytest.mark.gen_test
async def test_an_idle_child_that_was_killed_is_noticed(open_workshop):
    workshop = await open_workshop(concurrency=1)
    first, _ = await examine(workshop, making.a_jpeg(), "jpeg")
    os.kill(first.child, signal.SIGKILL)
    await until(lambda: not workshop.children)
    second, _ = await examine(workshop, making.a_jpeg(), "jpeg")
    assert second.child != first.child


@pytest.mark.gen_test
async def test_a_fault_of_the_store_is_the_callers_and_the_half_fed_child_is_replaced(open_workshop):
    workshop = await open_workshop(concurrency=1)

    async def breaking():
        yield making.a_jpeg()[:50]
        raise LookupError("the store lost a chunk")

    async def keep(piece: bytes) -> None:
        raise AssertionError("nothing can have come")

    with pytest.raises(LookupError, match="lost a chunk"):
        await workshop.examine(Order(type="jpeg", size=5_000, pixels=1_000_000), breaking(), keep)
    assert workshop.children == set()
    assert (await examine(workshop, making.a_jpeg(), "jpeg"))[0].width == 64


@pytest.mark.gen_test
async def test_more_waiting_files_than_allowed_are_refused_at_once(open_workshop):
    workshop = await open_workshop(concurrency=1, queue=1)
    go = asyncio.Event()
    data = making.a_jpeg()

    async def held():
        await go.wait()
        yield data

    async def keep(piece: bytes) -> None:
        pass

    order = Order(type="jpeg", size=len(data), pixels=1_000_000)
    first = asyncio.gather(workshop.examine(order, held(), keep), workshop.examine(order, held(), keep))
    await until(lambda: bool(workshop.children))
    with pytest.raises(WorkshopFull):
        await workshop.examine(order, held(), keep)
    go.set()
    assert [findings.width for findings in await first] == [64, 64]


@pytest.mark.gen_test
async def test_children_know_nothing_of_the_servers_environment(open_workshop, monkeypatch):
    monkeypatch.setenv("LINK_KEY", "a-secret-of-the-server")
    findings, _ = await examine(await open_workshop(), making.a_jpeg(), "jpeg")
    environment = await asyncio.to_thread(Path(f"/proc/{findings.child}/environ").read_bytes)
    assert b"PYTHONPATH" in environment
    assert b"a-secret-of-the-server" not in environment


@pytest.mark.gen_test
async def test_stopping_ends_every_child(open_workshop):
    workshop = await open_workshop()
    findings, _ = await examine(workshop, making.a_jpeg(), "jpeg")
    await workshop.stop()
    assert workshop.children == set()
    with pytest.raises(ProcessLookupError):
        os.kill(findings.child, 0)
    with pytest.raises(RuntimeError):
        await examine(workshop, making.a_jpeg(), "jpeg")


HOSTILE = {
    "three hundred tracks": (lambda: making.a_film_of_many_tracks(300), "mp4"),
    "thousands of tracks": (lambda: making.a_film_of_many_tracks(3000), "mp4"),
    "an index in an index": (making.a_deep_film, "mp4"),
    "an index without end": (making.an_endless_film, "mp4"),
    "billions of samples": (making.a_film_of_many_samples, "mp4"),
    "samples of billions": (making.a_film_of_long_samples, "mp4"),
    "a frame of gigabytes": (making.a_huge_film, "webm"),
    "a frame above the limit": (lambda: making.a_huge_film(7100, 7100), "webm"),
    "an image of billions of pixels": (lambda: making.a_png_bomb(2**31 - 1, 2**31 - 1), "png"),
    "a tall image": (lambda: making.a_png_bomb(1, 2**31 - 1), "png"),
    "a text that unpacks to a hundred megabytes": (making.a_text_bomb, "png"),
    "a profile that unpacks to a hundred megabytes": (making.a_profile_bomb, "png"),
    "thousands of frames": (lambda: making.a_gif_of_many_frames(20_000), "gif"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.gen_test(timeout=40)
async def test_a_hostile_file_is_refused_in_little_time_and_memory_and_the_next_is_served(open_workshop, hostile):
    make, type_ = HOSTILE[hostile]
    data = make()
    assert len(data) < 3 * MIB
    workshop = await open_workshop(concurrency=1, seconds=20)
    with pytest.raises(Unfit) as refusal:
        await examine(workshop, data, type_, 1_000_000 if type_ == "gif" else 50_000_000)
    # By what it is, or by the child's own limits: nobody had to wait for the clock.
    assert refusal.value.error != "TimeoutError"
    assert (await examine(workshop, making.a_jpeg(), "jpeg"))[0].width == 64
