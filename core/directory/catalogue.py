"""All doctors and departments in memory, searched without asking the store, and renewed when they change.

Text indexes are not portable between MongoDB servers, and a hospital has hundreds of doctors, not millions. A change is
stored, then counted in the store, then told to every process; a process that missed the telling sees the count, and one
that missed both (its teller died in between) reads everything again after `WHOLE_SECONDS`.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import structlog

from core import data, tasks
from core.directory import rules, search
from core.errors import AWAY, Invalid
from core.policy import Policy
from storage.departments import Department
from storage.doctors import Doctor, ServiceKind

if TYPE_CHECKING:
    from storage.bus import Bus
    from storage.departments import DepartmentRepository
    from storage.doctors import DoctorRepository
    from storage.versions import VersionRepository

log = structlog.get_logger()

TOPIC: Final = "directory.changed"
GROUP: Final = "directory"
POLL_SECONDS: Final = 3.0
WHOLE_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Listed:
    """A doctor with the department and what the search needs."""

    doctor: Doctor
    department: Department | None
    searchable: search.Searchable
    place: tuple[str, str]
    """Title code (the highest first), then id: the order among equals, which nothing a doctor does all day changes."""


@dataclass(frozen=True)
class Wanted:
    """What a patient looks for; None and "" ask for nothing. `department` is an id, a subject code or its beginning."""

    department: str | None = None
    text: str = ""
    service: ServiceKind | None = None
    online: bool | None = None


@dataclass(frozen=True)
class Found:
    """One page, best first; `cursor` continues behind it, None at the end."""

    doctors: Sequence[Listed]
    cursor: str | None


class Catalogue:
    """One a process. `start` loads it and keeps it fresh until `stop`."""

    def __init__(
        self,
        *,
        doctors: "DoctorRepository",
        departments: "DepartmentRepository",
        versions: "VersionRepository",
        bus: "Bus",
        policy: Policy,
    ) -> None:
        self._doctors = doctors
        self._departments = departments
        self._versions = versions
        self._bus = bus
        self._policy = policy
        self._listed: dict[str, Listed] = {}
        self._by_id: dict[str, Department] = {}
        self._number = -1
        self._loading = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._offers: tuple[date, dict[str, tuple[ServiceKind, ...]]] = (date.min, {})

    async def start(self, poll_seconds: float = POLL_SECONDS) -> None:
        """Load everything, listen to changes, look after the count; raises what the store raises when it is away."""
        await self.load()
        self._bus.on(TOPIC, self._told)
        self._keeper = tasks.spawn("directory.keep_fresh", self._keep_fresh(poll_seconds))

    async def stop(self) -> None:
        """Stop looking after the count."""
        await tasks.stop(self._keeper)

    async def load(self) -> None:
        """Read everything again."""
        async with self._loading:
            await self._load()

    async def refresh(self) -> None:
        """Read everything again if the count says that something has changed."""
        number = await self._versions.current(GROUP)
        async with self._loading:
            if number > self._number:
                await self._load()

    async def changed(self, doctor_id: str | None = None) -> None:
        """To be called after a change is stored: the caller sees it here at once, other processes right after.

        `doctor_id` when only that doctor changed, so that nobody reads all of them again.
        """
        number = await self._versions.increase(GROUP)
        await self._catch_up(number, doctor_id)
        await self._bus.broadcast(TOPIC, {"number": number, "doctor": doctor_id})

    def forget_offers(self) -> None:
        """To be called when the hospital's numbers have changed: what is offered is decided anew."""
        self._offers = (date.min, {})

    def departments(self) -> list[Department]:
        """All departments in the hospital's order."""
        return sorted(self._by_id.values(), key=lambda one: (one["order"], one["_id"]))

    def doctor(self, doctor_id: str) -> Listed | None:
        """A doctor, whether or not they are offered today."""
        return self._listed.get(doctor_id)

    def offers(self, listed: Listed, today: date) -> tuple[ServiceKind, ...]:
        """What this doctor may be asked for today; decided once a day and change."""
        if self._offers[0] != today:
            self._offers = (today, {})
        known = self._offers[1]
        id_ = listed.doctor["_id"]
        if id_ not in known:
            known[id_] = rules.offered_services(listed.doctor, today, self._policy)
        return known[id_]

    def count(self, department_id: str, today: date) -> int:
        """How many doctors of a department may be asked for something today."""
        return sum(
            listed.doctor["department_id"] == department_id and bool(self.offers(listed, today))
            for listed in self._listed.values()
        )

    def find(self, wanted: Wanted, *, today: date, limit: int, cursor: str | None) -> Found:
        """Doctors who may be asked for something today, best first; `Invalid` for a cursor that is not ours.

        The order depends on the search and on what the office sets only, so that pages neither repeat nor skip anybody.
        """
        terms = search.terms_of(wanted.text)
        behind = _read_cursor(cursor)
        ranked: list[tuple[tuple[int, str, str], Listed]] = []
        for listed in self._listed.values():
            weight = search.score(listed.searchable, terms) if terms else 1
            key = (-weight, *listed.place)
            if weight and (behind is None or key > behind) and self._answers(listed, wanted, today):
                ranked.append((key, listed))
        ranked.sort(key=lambda pair: pair[0])
        page = ranked[:limit]
        more = len(ranked) > limit
        return Found([listed for _, listed in page], _write_cursor(page[-1][0]) if more else None)

    def _answers(self, listed: Listed, wanted: Wanted, today: date) -> bool:
        offers = self.offers(listed, today)
        if not offers or (wanted.service is not None and wanted.service not in offers):
            return False
        if wanted.online is not None and listed.doctor["online"] is not wanted.online:
            return False
        return not wanted.department or _belongs(listed, wanted.department)

    async def _load(self) -> None:
        # The count first: what is read after it is at least as new.
        number = await self._versions.current(GROUP)
        departments = {one["_id"]: one for one in await self._departments.every()}
        doctors = await self._doctors.every()
        # Pinyin of a thousand names is 0.1 s of work.
        self._listed = await asyncio.to_thread(lambda: {one["_id"]: _listed(one, departments) for one in doctors})
        self._by_id = departments
        self._offers = (date.min, {})
        self._number = number

    async def _catch_up(self, number: int, doctor_id: str | None) -> None:
        async with self._loading:
            if number <= self._number:
                return
            if doctor_id is None or number != self._number + 1:
                await self._load()
                return
            doctor = await self._doctors.get(doctor_id)
            if doctor is not None:
                self._listed[doctor_id] = _listed(doctor, self._by_id)
                self._offers[1].pop(doctor_id, None)
            self._number = number

    async def _told(self, payload: Mapping[str, Any]) -> None:
        try:
            await self._catch_up(payload["number"], payload["doctor"])
        except AWAY as error:
            log.warning("directory.refresh_away", error=type(error).__name__)

    async def _keep_fresh(self, pause_seconds: float) -> None:
        whole_at = asyncio.get_running_loop().time() + WHOLE_SECONDS
        while True:
            await asyncio.sleep(pause_seconds)
            try:
                if asyncio.get_running_loop().time() >= whole_at:
                    await self.load()
                    whole_at = asyncio.get_running_loop().time() + WHOLE_SECONDS
                else:
                    await self.refresh()
            except AWAY as error:
                log.warning("directory.poll_away", error=type(error).__name__)


def title_name(code: str) -> str:
    """The official name of a title code (GB/T 8561); the code itself when the table does not have it."""
    return next((row["name"] for row in data.table("titles") if row["code"] == code), code)


def _listed(doctor: Doctor, departments: Mapping[str, Department]) -> Listed:
    department = departments.get(doctor["department_id"])
    return Listed(
        doctor=doctor,
        department=department,
        searchable=search.searchable(
            name=doctor["name"],
            positions=(title_name(doctor["title"]), *((department["name"], department["code"]) if department else ())),
            skills=doctor["skills"],
            text=doctor["introduction"],
        ),
        place=(doctor["title"], doctor["_id"]),
    )


def _belongs(listed: Listed, department: str) -> bool:
    if listed.doctor["department_id"] == department:
        return True
    code = listed.department["code"] if listed.department else ""
    return code == department or code.startswith(f"{department}.")


def _write_cursor(key: tuple[int, str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None) -> tuple[int, str, str] | None:
    if cursor is None:
        return None
    try:
        weight, title, id_ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError) as error:
        raise Invalid.field("cursor", "不是有效的翻页位置") from error
    if not (type(weight) is int and isinstance(title, str) and isinstance(id_, str)):
        raise Invalid.field("cursor", "不是有效的翻页位置")
    return weight, title, id_
