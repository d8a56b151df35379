"""A hospital in which consultations are acted through the services: real stores, a simulated gateway, no worker.

Nothing moves but by the test's own hand: duties that are left over are run by `House.rest`, and the gateway tells of
payments and refunds only when it is asked (`drop_notifications`), unless a test switches its messages on.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from app import serving
from app.settings import Settings
from core.accounts.rules import PHONE_FIELD
from core.auth import Caller
from core.context import Context
from core.directory import service as directory
from core.ids import Clock, new_id
from core.orders import service as orders
from core.patients import service as patients
from core.visits import service, submission
from scripts.acting import Person
from scripts.embedded import free_port
from scripts.story import valid_id_number
from simulators.__main__ import start as start_simulator
from simulators.wechat_pay.faults import Faults
from tests.core.partial import a_department, a_doctor, caller_of
from tests.hospital import VENDORS, settings_for

CONSENTED = ("consult_notice", "sensitive_data")
FEE = 3_000
PASSES = 6
COLLECTIONS = ("visits", "orders", "calls")
QUIET = Faults(drop_notifications=True).document()


@dataclass
class House:
    """The hospital and its people. `doctor`, `free_doctor` (takes no fee) and `other_doctor` are of `cardiology`."""

    process: serving.Process
    settings: Settings
    http: httpx.AsyncClient
    gateway: str
    doctor: Caller
    free_doctor: Caller
    other_doctor: Caller

    @property
    def ctx(self) -> Context:
        return self.process.ctx

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    def person(self, caller: Caller) -> Person:
        """Who calls over HTTP with a token that was issued without a login."""
        person = Person(self.http, self.url)
        person.token = self.ctx.tokens.issue(
            account=caller.id,
            role=caller.role,
            audience=caller.audience,
            session=caller.session,
            epoch=0,
            now=self.ctx.clock.now(),
            seconds=900,
        )
        return person

    # --- the gateway -----------------------------------------------------------------------------

    async def faults(self, **switched: Any) -> None:
        """Set the gateway's switches."""
        (await self.http.post(f"{self.gateway}/_control/faults", json=switched)).raise_for_status()

    async def pay(self, order_id: str) -> bool:
        """Pay as the user would; False: the gateway does not take it."""
        return (await self.http.post(f"{self.gateway}/_control/pay/{order_id}")).is_success

    async def settle_refund(self, order_id: str, status: str) -> bool:
        """End a refund that is PROCESSING; False: there is none."""
        page = f"{self.gateway}/_control/refund/{order_id}-R/settle"
        return (await self.http.post(page, json={"status": status})).is_success

    async def ledger(self, order_id: str) -> dict[str, int]:
        """What the gateway holds of an order."""
        orders = (await self.http.get(f"{self.gateway}/_control/ledger")).raise_for_status().json()["orders"]
        found: dict[str, int] = orders.get(order_id, {"paid": 0, "refunded": 0, "held": 0})
        return found

    # --- time ------------------------------------------------------------------------------------

    async def rest(self) -> None:
        """Until nothing is under way and no duty is left to run: those that wait are run before their time.

        One that asks to be run again and again is left after some passes.
        """
        for _ in range(PASSES):
            await under_way()
            for name in COLLECTIONS:
                await self.ctx.store.db[name].update_many(
                    {"duties.next_at": {"$gt": self.ctx.clock.now()}},
                    {"$set": {"duties.$[waiting].next_at": self.ctx.clock.now()}},
                    array_filters=[{"waiting.state": "due"}],
                )
            if not await self.ctx.duties.run_due():
                return

    async def pass_deadline(self, collection: str, id_: str) -> None:
        """Let the document's deadline be a second ago, if it has one, and let the worker look once.

        A move at the same moment brings a deadline of its own, which is left alone.
        """
        past = self.ctx.clock.now() - timedelta(seconds=1)
        docs = self.ctx.store.db[collection]
        found = await docs.find_one({"_id": id_})
        if found is not None and found["deadline_at"] is not None:
            await docs.update_one({"_id": id_, "version": found["version"]}, {"$set": {"deadline_at": past}})
        await self.ctx.duties.run_due()

    async def tidy(self) -> None:
        """No faults, and nothing left for a worker to do."""
        await self.faults(**QUIET)
        await under_way()
        for name in COLLECTIONS:
            await self.ctx.store.db[name].update_many({"duties.kind": {"$gt": ""}}, {"$set": {"duties": []}})

    # --- people ----------------------------------------------------------------------------------

    async def patient(self, *, name: str = "演示家属", phone: str = "19900098888") -> tuple[Caller, str]:
        """A new account that can pay by WeChat, and its verified patient."""
        caller = caller_of("patient")
        now = self.ctx.clock.now()
        account: Any = {
            "_id": caller.id,
            "audience": "patient",
            "role": "patient",
            "status": "active",
            "phone": self.ctx.cipher.seal(phone, field=PHONE_FIELD),
            "phone_index": caller.id,
            "name": None,
            "login": None,
            "password_hash": None,
            "openid": f"o-{caller.id}",
            "department_id": None,
            "epoch": 0,
            "wrong_tries": 0,
            "locked_until": None,
            "second_factor": None,
            "created_at": now,
            "updated_at": now,
        }
        await self.ctx.accounts.add(account)
        form = {
            "name": name,
            "id_type": "01",
            "id_number": valid_id_number(),
            "gender": "1",
            "birth_date": "1990-03-07",
            "phone": phone,
            "relation": "self",
        }
        made = await patients.add(self.ctx, caller=caller, form=form)
        await patients.verify(self.ctx, caller=caller, patient_id=made["_id"])
        return caller, made["_id"]

    async def nurse(self, department: str = "cardiology") -> Caller:
        """A nurse of a department."""
        caller = caller_of("nurse")
        account: Any = {"_id": caller.id, "audience": "staff", "role": "nurse", "phone_index": caller.id}
        await self.ctx.accounts.add(account | {"department_id": department, "epoch": 0})
        return caller

    async def form(self, patient_id: str, doctor: Caller | None = None, **changes: Any) -> dict[str, Any]:
        """What the schema of POST /visits would have loaded."""
        texts = [await directory.consent_text(self.ctx, kind, None) for kind in CONSENTED]
        return {
            "kind": "consult",
            "doctor_id": (doctor or self.doctor).id,
            "patient_id": patient_id,
            "consult_type_id": "general",
            "condition": {"description": "头痛两天", "duration": "", "history": "", "allergies": ""},
            "attachments": [],
            "consents": [{"kind": text["kind"], "version": text["version"]} for text in texts],
        } | changes

    async def submit(self, caller: Caller, form: dict[str, Any], request: str | None = None) -> Any:
        """The service behind POST /visits."""
        return await submission.submit(
            self.ctx, caller=caller, request_id=request or new_id(), form=form, address="127.0.0.1", device="tests"
        )

    # --- visits in the middle of their life ---------------------------------------------------------

    async def submitted(self, doctor: Caller | None = None, **changes: Any) -> "Case":
        """A visit as it stands after its submission: awaiting its payment, or waiting when the doctor takes no fee."""
        caller, patient_id = await self.patient()
        visit = await self.submit(caller, await self.form(patient_id, doctor, **changes))
        return Case(self, caller, doctor or self.doctor, visit["_id"], visit["order_id"] or "")

    async def waiting(self) -> "Case":
        """A paid visit that waits for its doctor."""
        case = await self.submitted()
        await case.open_payment()
        assert await self.pay(case.order_id)
        await case.word()
        return case

    async def in_progress(self) -> "Case":
        """An accepted visit."""
        case = await self.waiting()
        await case.act(case.doctor, "accept")
        return case

    async def completed(self) -> "Case":
        """A visit that the doctor has ended."""
        case = await self.in_progress()
        await case.act(case.doctor, "complete")
        return case


@dataclass
class Case:
    """One visit with its two people and its order."""

    house: House
    patient: Caller
    doctor: Caller
    id: str
    order_id: str

    async def visit(self) -> Any:
        """As the store has it."""
        return await self.house.ctx.visits.get(self.id)

    async def order(self) -> Any:
        """As the store has it."""
        return await self.house.ctx.orders.get(self.order_id)

    async def standing(self) -> tuple[str, str | None]:
        """Where visit and order stand."""
        visit, order = await self.visit(), await self.order()
        return visit["status"], order and order["status"]

    async def act(self, who: Caller, act: str, **given: Any) -> Any:
        """An act of a participant."""
        return await service.act(self.house.ctx, caller=who, visit_id=self.id, act=act, **given)

    async def open_payment(self) -> Any:
        """The parameters of wx.requestPayment."""
        return await orders.pay(self.house.ctx, caller=self.patient, order_id=self.order_id, login_code=None)

    async def word(self) -> Any:
        """The gateway's word on the payment, taken as its notification is."""
        transaction = await self.house.ctx.payment.query(self.order_id)
        assert transaction is not None
        await orders.record_payment(self.house.ctx, transaction)
        return transaction

    async def said(self) -> list[dict[str, Any]]:
        """What the hospital has said in the chat, in its order."""
        ctx = self.house.ctx
        messages = await ctx.messages.between(self.id, 0, 1_000)
        return [json.loads(ctx.cipher.open(one["body"], field="message.body")) for one in messages]


async def under_way() -> None:
    """Until the duties that were kicked off beside their callers have been run."""
    while kicked := [task for task in asyncio.all_tasks() if task.get_name().startswith("duties.")]:
        await asyncio.wait(kicked)


@asynccontextmanager
async def open_house(
    mongo_uri: str, redis_url: str, folder: Path, database: str, *, clock: Clock | None = None
) -> AsyncIterator[House]:
    """Simulators and one process of role `api` over an empty database, with what a consultation needs in it."""
    keys, state = folder / "keys", folder / "state"
    keys.mkdir()
    state.mkdir()
    simulators = {name: start_simulator(name, 0, state, keys) for name in VENDORS}
    urls = {name: f"http://127.0.0.1:{running.port}" for name, running in simulators.items()}
    port = free_port()
    settings = settings_for(
        mongo_uri, redis_url, database, keys, urls, listen_port=port, public_url=f"http://127.0.0.1:{port}"
    )
    process = await serving.start(settings, "api", clock=clock)
    async with httpx.AsyncClient(timeout=30) as http:
        doctors = [caller_of("doctor") for _ in range(3)]
        house = House(process, settings, http, urls["wechat_pay"], *doctors)
        try:
            await _furnish(house)
            yield house
        finally:
            await process.stop()
            for running in simulators.values():
                await running.stop()


async def _furnish(house: House) -> None:
    ctx, now = house.ctx, house.ctx.clock.now()
    await ctx.departments.add(a_department())
    for doctor, fee in ((house.doctor, FEE), (house.free_doctor, 0), (house.other_doctor, FEE)):
        await ctx.doctors.add(a_doctor(doctor.id, fees={"consult": fee, "followup": fee}, online=True))
    await ctx.catalogue.changed()
    kind: Any = {"_id": "general", "name": "普通咨询", "description": "", "order": 1, "enabled": True, "version": 1}
    await ctx.store.db["consult_types"].insert_one(kind | {"created_at": now, "updated_at": now})
    for text in CONSENTED:
        await directory.publish_consent_text(
            ctx, kind=text, version="1", title=text, body=f"{text} 全文", effective_at=now, by="system"
        )
    await house.faults(**QUIET)
