"""A hospital as `scripts/server` starts it, with call processes of their own, and two people of an accepted visit."""

import asyncio
import contextlib
import io
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import av
import httpx

from core import tasks
from rtc.media import Manifest
from rtc.recordings import Recordings
from rtc.threads import Threads
from scripts.acting import Outside, until
from scripts.data_folder import DataFolder
from scripts.demo import DEMO_PASSWORDS
from scripts.embedded import free_port
from scripts.launch import Launcher, Options
from scripts.processes import Child
from scripts.story import CONSULTATION, Stage, they_chat
from tests.e2e.chromium import Page, chromium
from tests.e2e.pages import ASK, Pages, served
from tests.people import DOCTOR, new_phone
from tests.rtc.samples import times

CALL_PROCESSES: Final = 2
READY_SECONDS: Final = 60.0
RECORDED_SECONDS: Final = 20.0
COMPOSED_SECONDS: Final = 60.0


@dataclass
class Clinic:
    """The running hospital, and the pages that its websocket admits."""

    launcher: Launcher
    pages: Pages
    http: httpx.AsyncClient

    async def consulting(self) -> Stage:
        """A new patient in an accepted visit."""
        addresses = {name: url.rstrip("/") for name, url in self.launcher.simulator_urls.items()}
        outside = Outside(self.http, **addresses)
        stage = Stage(self.http, self.launcher.url, outside, DOCTOR, DEMO_PASSWORDS["doctor"])
        stage.found["phone"] = new_phone()
        for step in CONSULTATION[: CONSULTATION.index(they_chat)]:
            await step(stage)
        return stage

    def carrying(self, call: str) -> Child:
        """The call process that writes this call's recording."""
        folders = [str(one) for one in self.folders(call)]
        for child in self.launcher.rtc_workers:
            if child.pid is not None and any(_has_open(child.pid, folder) for folder in folders):
                return child
        raise LookupError("no process carries the call")

    def folders(self, call: str) -> list[Path]:
        """Of the call's recordings, one of each process that carried it."""
        return sorted(self.launcher.folder.recordings.glob(f"{call}.*"))

    async def recorded(self, call: str, into: Path, *segments: str) -> list[tuple[Manifest, Path]]:
        """What would be left of the recordings of a live call if every process died: copies in `into`, completed.

        `segments` are those (without number and suffix) that have lasted a second by then; it waits for them.
        """
        threads = Threads()
        found: list[tuple[Manifest, Path]] = []

        async def all_last_a_second() -> bool:
            try:
                found[:] = await self._copied(call, into / secrets.token_hex(4), threads)
            except (OSError, ValueError):  # a folder that has no manifest yet, or is handed over just now
                return False
            lasting = [one for manifest, _ in found for one in manifest.segments if one.duration >= 1]
            return {f"{one.side}-{one.generation}" for one in lasting} >= set(segments)

        try:
            await until(all_last_a_second, seconds=RECORDED_SECONDS)
        finally:
            threads.close()
        return found

    async def _copied(self, call: str, into: Path, threads: Threads) -> list[tuple[Manifest, Path]]:
        copies = Recordings(into, threads)
        found = []
        for folder in self.folders(call):
            copy = Path(shutil.copytree(folder, into / folder.name, ignore=shutil.ignore_patterns("*.new")))
            found.append((await copies.manifest(copy), copy))
        return found


def _has_open(process: int, folder: str) -> bool:
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if str(descriptor.readlink()).startswith(folder):
                return True
    return False


async def _carry_calls(launcher: Launcher) -> bool:
    return all("app.ready" in child.log.read_text(encoding="utf-8") for child in launcher.rtc_workers)


@asynccontextmanager
async def open_clinic(**settings: str) -> AsyncIterator[Clinic]:
    """Such a hospital with its demonstration data, in a folder for the time; parts that end are started again."""
    async with served() as pages, httpx.AsyncClient(timeout=30) as http:
        with tempfile.TemporaryDirectory(prefix="clinic-") as temporary:
            folder = DataFolder.open(Path(temporary) / "hospital")
            options = Options(free_port(), folder.path, fresh=False, demo=True, rtc_workers=CALL_PROCESSES)
            launcher = Launcher(options, folder)
            for name in ("MONGO_URI", "REDIS_URL"):
                launcher.env.pop(name, None)
            launcher.env |= {"ALLOWED_ORIGINS": pages.origin, **settings}
            supervising = None
            try:
                await launcher.start()
                supervising = tasks.spawn("clinic.supervise", launcher.supervise())
                await until(partial(_carry_calls, launcher), seconds=READY_SECONDS)
                yield Clinic(launcher, pages, http)
            finally:
                await tasks.stop(supervising)
                await launcher.stop()
                folder.close()


class Talk:
    """The doctor's and the patient's pages in one visit."""

    def __init__(self, clinic: Clinic, stage: Stage, doctor: Page, patient: Page) -> None:
        self.clinic, self.stage, self.doctor, self.patient = clinic, stage, doctor, patient
        self.pages = (doctor, patient)
        self.call = ""

    async def begin(self, **settings: dict[str, Any]) -> None:
        """From the first word to sight and sound."""
        await self.enter(**settings)
        await self.ring()
        await self.answer()
        await self.see_and_hear()
        await self.hear("call.state", state="active")

    async def enter(self, **settings: dict[str, Any]) -> None:
        """Both pages say hello; `settings` are those of `enter` in visit.js, by role."""
        url = self.clinic.launcher.url.replace("http", "ws", 1) + "/ws"
        for page, person in ((self.doctor, self.stage.doctor), (self.patient, self.stage.patient)):
            role = person.account["role"]
            await page.call("enter", url, person.token, f"page-{role}", settings.get(role, {}))

    async def ring(self, ask: Any = ASK) -> None:
        """The doctor calls, and it rings at the patient's."""
        invited, rung = await asyncio.gather(
            self.doctor.call("invite", self.stage.found["visit"]["id"], ask), self.patient.call("ring", ask)
        )
        assert (rung["id"], rung["state"]) == (invited["id"], "ringing")
        self.call = invited["id"]

    async def answer(self) -> None:
        """The patient agrees to be recorded, and answers."""
        text = await self.stage.patient.get("/consent-texts/call_recording")
        await self.patient.call("answer", text["version"])

    async def see_and_hear(self) -> None:
        """Both have a moving picture and sound of the other."""
        await asyncio.gather(*(page.call(what) for page in self.pages for what in ("moves", "sounds")))

    async def see_and_hear_again(self, *generations: int) -> None:
        """The same, once the legs (the doctor's, the patient's) are of these generations."""
        await asyncio.gather(
            *(page.call("renewed", generation) for page, generation in zip(self.pages, generations, strict=True))
        )
        await self.see_and_hear()

    async def states(self) -> list[list[str]]:
        """The states that each page was told of, in their order."""
        return [await page.call("() => states") for page in self.pages]

    async def hear(self, event: str, **wanted: Any) -> list[dict[str, Any]]:
        """The first event with these values at each page."""
        return list(await asyncio.gather(*(page.call("hear", event, wanted) for page in self.pages)))

    async def film(self) -> tuple[dict[str, Any], bytes]:
        """What the doctor is told of the whole recording once its film is composed, and the film."""
        doctor, path = self.stage.doctor, f"/calls/{self.call}/recording"
        shown: dict[str, Any] = {}

        async def is_composed() -> bool:
            shown.update(await doctor.get(path))
            return shown["film"] is not None and shown["film"]["complete"]

        await until(is_composed, seconds=COMPOSED_SECONDS)
        await doctor.post("/auth/elevate", {"password": self.stage.doctor_password})
        link = await doctor.post(f"{path}/links", {"reason": "病情复核"})
        answer = await self.clinic.http.get(f"{self.clinic.launcher.url}{link['url']}")
        return shown, answer.raise_for_status().content


@asynccontextmanager
async def talking(clinic: Clinic, profile: Path) -> AsyncIterator[Talk]:
    """Two people of an accepted visit, each with a page that is not yet on the line; afterwards no call lives."""
    stage = await clinic.consulting()
    try:
        async with chromium(profile) as browser:
            doctor, patient = [await browser.open(f"{clinic.pages.origin}/visit.html") for _ in range(2)]
            yield Talk(clinic, stage, doctor, patient)
    finally:
        await stage.doctor.post(f"/visits/{stage.found['visit']['id']}/complete")
        await stage.close()


def require_plays(parts: Sequence[tuple[Manifest, Path]], *segments: str) -> None:
    """The recording consists of these segments, and in each pictures and sounds can be decoded."""
    found = {
        f"{one.side}-{one.generation}": folder / one.name for manifest, folder in parts for one in manifest.segments
    }
    assert sorted(found) == sorted(segments)
    for name, path in found.items():
        for kind in ("video", "audio"):
            assert len(times(path, kind)) >= 5, (name, kind)


def require_shows_both(film: bytes) -> None:
    """The two halves of the film move, each by itself, and there is sound in it."""
    halves: tuple[list[bytes], list[bytes]] = ([], [])
    with av.open(io.BytesIO(film)) as file:
        for frame in file.decode(video=0):
            plane, middle = bytes(frame.planes[0]), frame.width // 2
            rows = range(0, frame.height * frame.planes[0].line_size, frame.planes[0].line_size)
            halves[0].append(b"".join(plane[row : row + middle] for row in rows))
            halves[1].append(b"".join(plane[row + middle : row + frame.width] for row in rows))
    for half in halves:
        assert len({hash(one) for one in half}) >= 5
        assert max(max(one) - min(one) for one in half) > 50
    with av.open(io.BytesIO(film)) as file:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        heard = [part for frame in file.decode(audio=0) for part in resampler.resample(frame)]
    assert max(max(memoryview(bytes(one.planes[0])[: 2 * one.samples]).cast("h")) for one in heard) > 1000
