"""A doctor of the house whom nobody has asked yet, at the desk."""

from dataclasses import dataclass
from typing import Any

import pytest

from core.auth import Caller
from core.context import Context
from core.visits import service as visits
from scripts.acting import Person
from tests.core.consulting import House
from tests.core.partial import a_doctor, caller_of


@dataclass
class Asking:
    """Somebody who asks this doctor, for one patient."""

    caller: Caller
    patient: str


@dataclass
class Desk:
    """The doctor takes no fee, so that a visit waits as soon as it is submitted."""

    house: House
    doctor: Caller
    person: Person

    @property
    def ctx(self) -> Context:
        return self.house.ctx

    async def asking(self, name: str = "演示家属") -> Asking:
        """Somebody new, who has not asked yet."""
        return Asking(*await self.house.patient(name=name))

    async def asked_by(self, who: Asking, **changes: Any) -> str:
        """A submitted visit; its id."""
        form = await self.house.form(who.patient, self.doctor, **changes)
        visit = await self.house.submit(who.caller, form)
        return str(visit["_id"])

    async def new_patient(self, name: str = "演示家属") -> Asking:
        """Somebody new, who has asked once."""
        who = await self.asking(name)
        await self.asked_by(who)
        return who

    async def rated(self, who: Asking, stars: int, said: str = "") -> str:
        """A visit that took place and was rated; its id."""
        visit = await self.asked_by(who)
        for act in ("accept", "complete"):
            await visits.act(self.ctx, caller=self.doctor, visit_id=visit, act=act)
        await self.house.person(who.caller).post(f"/visits/{visit}/rating", {"stars": stars, "text": said})
        return visit


async def add_doctor(house: House, **changes: Any) -> Caller:
    """One more doctor of the house."""
    doctor = caller_of("doctor")
    fees = {"consult": 0, "followup": 0}
    await house.ctx.doctors.add(a_doctor(doctor.id, **({"fees": fees, "online": True} | changes)))
    await house.ctx.catalogue.changed(doctor.id)
    return doctor


@pytest.fixture
def desk(house, io_loop) -> Desk:
    doctor = io_loop.run_sync(lambda: add_doctor(house))
    return Desk(house, doctor, house.person(doctor))


@pytest.fixture
def other(house, io_loop) -> Desk:
    """Another doctor at another desk."""
    doctor = io_loop.run_sync(lambda: add_doctor(house))
    return Desk(house, doctor, house.person(doctor))
