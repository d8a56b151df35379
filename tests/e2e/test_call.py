"""Two people talk in real browsers, through our server."""

import asyncio
import base64
import itertools
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import pytest

from rtc.compose import compose, pieces_of
from tests.e2e.chromium import Page, chromium
from tests.e2e.pages import ASK, served
from tests.rtc.lossy import LossyLine
from tests.rtc.peers import without_candidates
from tests.rtc.rooms import Hall, hall
from tests.rtc.samples import times

OWN_SECONDS = 5
IN_STEP_SECONDS = 0.08
WINDOWS = 5


@asynccontextmanager
async def pages(folder: Path, count: int) -> AsyncIterator[list[Page]]:
    """So many browsers' tabs with the page of a call."""
    async with served() as here, chromium(folder) as browser:
        yield [await browser.open(f"{here.origin}/call.html") for _ in range(count)]


async def enter(here: Hall, side, page: Page, generation: int = 1, ask=ASK) -> None:
    """Offer and accept."""
    await page.call("accept", await here.room.offer(side, generation, await page.call("offer", ask), ()))


async def see_and_hear(*some: Page) -> None:
    """All of them have a moving picture and sound of the other."""
    await asyncio.gather(*(page.call(what) for page in some for what in ("moves", "sounds")))


def test_two_browsers_see_and_hear_each_other_and_both_are_in_the_film(tmp_path):
    async def talk():
        async with hall(tmp_path / "recordings") as here, pages(tmp_path / "profile", 2) as (doctor, patient):
            await enter(here, "doctor", doctor)
            await enter(here, "patient", patient)
            await see_and_hear(doctor, patient)
            for page in (doctor, patient):
                await page.call("frames", 20)
                received = await page.call("received")
                assert received["transport"]["srtpCipher"] == "SRTP_AEAD_AES_256_GCM"
                assert received["video"]["packetsLost"] == 0
                assert received["audio"]["packetsLost"] == 0
            manifest = await here.room.close()
            assert here.heard.named("failed", "recorder_failed") == []
        [folder] = (tmp_path / "recordings").iterdir()
        for segment in manifest.segments:
            shown, heard = times(folder / segment.name, "video"), times(folder / segment.name, "audio")
            assert len(shown) >= 10
            assert abs(shown[-1] - heard[-1]) < 0.3
        film = await compose(pieces_of([(manifest, folder)]), tmp_path / "film.mp4")
        assert film.pictures == len(times(tmp_path / "film.mp4", "video"))

    asyncio.run(talk())


def test_a_browser_that_comes_back_from_another_place_goes_on(tmp_path):
    async def talk():
        async with hall(tmp_path / "recordings") as here, pages(tmp_path / "profile", 2) as (doctor, patient):
            await enter(here, "doctor", doctor)
            await enter(here, "patient", patient)
            await see_and_hear(doctor, patient)
            await enter(here, "doctor", doctor, generation=2)
            await here.heard.until("connected", "doctor", 2)
            await see_and_hear(doctor, patient)
            assert (await patient.call("received"))["video"]["packetsLost"] == 0
            manifest = await here.room.close()
        assert {segment.name for segment in manifest.segments} >= {"doctor-1-1.webm", "doctor-2-1.webm"}

    asyncio.run(talk())


def onsets(path: Path) -> tuple[list[float], list[float]]:
    """When a recording becomes white, and when it becomes loud, in seconds."""
    white, loud = [], []
    with av.open(str(path)) as file:
        was = False
        for frame in file.decode(video=0):
            plane = frame.planes[0]
            now = bytes(plane)[plane.line_size * (frame.height // 2) + frame.width // 2] > 128
            if now and not was:
                white.append(float(frame.time))
            was = now
    with av.open(str(path)) as file:
        resampler, quiet_since = av.AudioResampler(format="s16", layout="mono", rate=48_000), 0.0
        for frame in file.decode(audio=0):
            at = float(frame.time)
            frame.pts = None
            for part in resampler.resample(frame):
                for place, value in enumerate(memoryview(bytes(part.planes[0])[: 2 * part.samples]).cast("h")):
                    if abs(value) > 3000:
                        if at + place / 48_000 - quiet_since > 0.5:
                            loud.append(at + place / 48_000)
                        quiet_since = at + place / 48_000
    return white, loud


def behind(path: Path) -> list[float]:
    """By how many seconds each sound of `flashes` comes after its picture."""
    white, loud = onsets(path)
    return [min((sound - sight for sound in loud), key=abs) for sight in white]


async def freezes_in_windows(here: Hall, page: Page, *, until_none: bool) -> list[int]:
    """How often the doctor's picture froze on this page in each 5 s, after the first 5, one of them at least.

    A busy machine freezes pictures too: `until_none` looks on, up to five times, until none did.
    """
    counts: list[int] = []
    for window in range(1, WINDOWS + 2):
        await here.heard.until_told(window, "quality", "doctor", 1)
        counts.append((await page.call("received"))["video"]["freezeCount"])
        if len(counts) > 1 and (not until_none or counts[-1] == counts[-2]):
            break
    return [after - before for before, after in itertools.pairwise(counts)]


@pytest.mark.parametrize("loss", [0.0, 0.03])
def test_sound_and_picture_are_in_step_all_through_the_recording(tmp_path, figure, loss):
    async def talk():
        async with (
            hall(tmp_path / "recordings") as here,
            LossyLine(loss, seed=4) as line,
            pages(tmp_path / "profile", 2) as (doctor, patient),
        ):
            (tmp_path / "own.webm").write_bytes(base64.b64decode(await doctor.call("own", OWN_SECONDS)))
            offered = without_candidates(await doctor.call("offer", "flashes"))
            await doctor.call("accept", line.through(await here.room.offer("doctor", 1, offered, ())))
            await enter(here, "patient", patient)
            await asyncio.gather(doctor.call("moves"), patient.call("sounds"))
            freezes = await freezes_in_windows(here, patient, until_none=loss == 0)
            manifest = await here.room.close()
        own = statistics.median(behind(tmp_path / "own.webm"))
        [folder] = (tmp_path / "recordings").iterdir()
        name = next(one.name for one in manifest.segments if one.side == "doctor")
        apart = [one - own for one in behind(folder / name)]
        assert len(apart) >= 8
        third = len(apart) // 3
        parts = [statistics.median(part) for part in (apart[:third], apart[third:-third], apart[-third:])]
        worst = max(map(abs, parts))
        figure(f"seconds between sound and picture with {loss:.0%} loss ({IN_STEP_SECONDS})", worst)
        assert worst <= IN_STEP_SECONDS, (own, apart)
        if loss == 0:
            assert freezes[-1] == 0
            figure("freezes without loss (0 on an idle machine)", sum(freezes))

    asyncio.run(talk())


@pytest.mark.parametrize("ask", [{"audio": True}], ids=["sound only"])
def test_a_browser_without_a_camera_takes_part(tmp_path, ask):
    async def talk():
        async with hall(tmp_path / "recordings") as here, pages(tmp_path / "profile", 2) as (doctor, patient):
            await enter(here, "doctor", doctor)
            await enter(here, "patient", patient, ask=ask)
            await asyncio.gather(doctor.call("sounds"), patient.call("sounds"))

    asyncio.run(talk())


def test_on_a_bad_line_pictures_come_whole_and_are_recorded_whole(tmp_path):
    async def talk():
        async with (
            hall(tmp_path / "recordings") as here,
            LossyLine(0.03, seed=3) as line,
            pages(tmp_path / "profile", 2) as (doctor, patient),
        ):
            offered = without_candidates(await doctor.call("offer", ASK))
            await doctor.call("accept", line.through(await here.room.offer("doctor", 1, offered, ())))
            await enter(here, "patient", patient)
            await see_and_hear(doctor, patient)
            while line.lost < 20:  # noqa: ASYNC110 -- of what two browsers send
                await asyncio.sleep(0.05)
            received = await patient.call("received")
            assert received["video"]["framesDecoded"] > 20
            manifest = await here.room.close()
        [folder] = (tmp_path / "recordings").iterdir()
        [segment] = [one for one in manifest.segments if one.side == "doctor"]
        shown = times(folder / segment.name, "video")
        assert max(after - before for before, after in itertools.pairwise(shown)) < 1

    asyncio.run(talk())
