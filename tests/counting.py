"""A house whose clock is stepped to the morning after, so that a day's money can be compared with the gateway's bill.

The gateway keeps the real time and gives out a day's bill before its time (`early_bills`).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from core.ids import CHINA
from scripts.acting import Person
from simulators.wechat_pay.faults import Faults
from tests.clock import SettableClock
from tests.core.consulting import Case, House, open_house
from tests.core.partial import caller_of, lift

SWITCHES = Faults(drop_notifications=True, early_bills=True, partial_refund_gap=0).document()


@dataclass
class CountingHouse:
    """The house, its clock, and the day whose money is counted."""

    house: House
    clock: SettableClock
    day: str = ""

    @property
    def ctx(self) -> Any:
        return self.house.ctx

    async def begin(self) -> None:
        """A day without any money, beginning now."""
        self.clock.step((datetime.now(UTC) - self.clock.now()).total_seconds())
        (await self.house.http.post(f"{self.house.gateway}/_control/reset")).raise_for_status()
        await self.house.faults(**SWITCHES)
        for name in ("orders", "visits", "reconciliations"):
            await self.ctx.store.db[name].delete_many({})
        self.day = self.today.isoformat()

    @property
    def today(self) -> date:
        return self.clock.now().astimezone(CHINA).date()

    def next_morning(self, at: time = time(11)) -> None:
        """11:00 in China on the day after the counted one, or another time."""
        moment = datetime.combine(date.fromisoformat(self.day) + timedelta(days=1), at, tzinfo=CHINA)
        self.clock.step((moment - self.clock.now()).total_seconds())

    def admin(self, role: str = "admin") -> Person:
        """Somebody of the office, logged in just now."""
        return self.house.person(caller_of(role, "office"))

    async def lifted_admin(self) -> Person:
        """The administrator, who has also proven themselves again."""
        caller = caller_of("admin", "office")
        await lift(self.ctx, caller)
        return self.house.person(caller)

    async def refunded(self) -> Case:
        """A visit refunded by its doctor, the money back with the patient."""
        case = await self.house.waiting()
        await case.act(case.doctor, "refund", reason="误操作")
        await self.house.rest()
        await self.house.settle_refund(case.order_id, "SUCCESS")
        await self.house.rest()
        return case

    async def stopped(self, status: str = "ABNORMAL") -> Case:
        """A refund that ended in this way at the gateway, and was given up here."""
        await self.house.faults(hold_refunds=True)
        case = await self.house.waiting()
        await case.act(case.doctor, "refund", reason="误操作")
        await self.house.rest()
        assert await self.house.settle_refund(case.order_id, status)
        await self.house.rest()
        await self.house.faults(hold_refunds=False)
        order = await case.order()
        assert [(one["kind"], one["state"]) for one in order["duties"]] == [("order.refund", "dead")]
        return case

    async def change(self, case: Case, **values: Any) -> None:
        """Make our own books wrong; `__` stands for a dot."""
        named = {name.replace("__", "."): value for name, value in values.items()}
        await self.ctx.store.db["orders"].update_one({"_id": case.order_id}, {"$set": named})


@asynccontextmanager
async def open_counting_house(
    mongo_uri: str, redis_url: str, folder: Path, database: str
) -> AsyncIterator[CountingHouse]:
    """One for all tests of a module; `begin` makes it new."""
    clock = SettableClock()
    async with open_house(mongo_uri, redis_url, folder, database, clock=clock) as house:
        yield CountingHouse(house, clock)
