"""A hospital with one of everything that has an owner, and everybody who may ask for it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from app import serving
from core.accounts import service as accounts
from core.accounts import sessions
from core.auth import Caller
from core.commands import Session
from core.desk import groups
from core.ids import new_id
from core.media import links
from core.patients import service as patients
from core.ratings import service as ratings
from rtc import service as calls
from scripts.acting import Line, Person, Refused
from scripts.demo import read
from scripts.story import picture, valid_id_number
from storage.hospitals import HOSPITAL_ID
from tests.abuse.admission import OK, STAFF, Row
from tests.core.consulting import Case, House, open_house, under_way
from tests.core.partial import caller_of
from tests.rtc.calling import publish_consent
from tests.rtc.stored import keep_film


@dataclass
class Subjects:
    """The hospital with one of everything in it, the people who ask, and what the names in the table stand for."""

    house: House
    callers: dict[str, Caller]
    people: dict[str, Person]
    chatting: serving.Process
    named: dict[str, Any]
    lines: dict[str, Line] = field(default_factory=dict)

    def fill(self, value: Any) -> Any:
        """The value with the subjects in the place of their names."""
        if isinstance(value, dict):
            return {self.fill(name): self.fill(one) for name, one in value.items()}
        if not isinstance(value, str):
            return value
        if (whole := re.fullmatch(r"\{(\w+)\}", value)) is not None:
            return self.named[whole[1]]
        return re.sub(r"\{(\w+)\}", lambda name: str(self.named[name[1]]), value)

    @property
    def chat(self) -> str:
        """The address of the process that holds the sockets."""
        return f"http://127.0.0.1:{self.chatting.port}"

    async def ask(self, row: Row, who: str, token: str | None = None) -> str:
        """What this person gets: `ok`, or the code of the refusal; over REST with another token where one is given."""
        if row.method == "OP":
            return await self._say(row, who)
        headers = {"Idempotency-Key": new_id(), **row.headers}
        if token or self.people[who].token:
            headers["Authorization"] = f"Bearer {token or self.people[who].token}"
        url = f"{self.house.url}{self.fill(row.path)}"
        answer = await self.house.http.request(row.method, url, headers=headers, json=self.fill(row.body))
        return OK if answer.is_success else _code(answer)

    async def _say(self, row: Row, who: str) -> str:
        op, args = row.path, self.fill(row.body)
        if who == "anonymous":
            line = await Line.open(self.chat)
            await line.write({"id": "1", "op": op, "args": args})
            await asyncio.wait_for(line.closed.wait(), 10)
            await line.close()
            return f"closed with {line.close_code}"
        try:
            await (await self.line(who)).request(op, **args)
        except Refused as refused:
            return refused.code
        return OK

    async def line(self, who: str) -> Line:
        """The person's open websocket."""
        if who not in self.lines:
            chatting = Person(self.house.http, self.chat)
            chatting.token = self.people[who].token
            self.lines[who] = await chatting.connect()
        return self.lines[who]

    async def digest(self) -> dict[str, Any]:
        """Every document of every collection, of pieces of files only that they are there."""
        await under_way()
        # Marks are written late, and would be written in the middle of the next request.
        await self.chatting.hospital.hub.chat.marks.write()
        database = self.house.ctx.store.db
        found = {}
        for name in sorted(await database.list_collection_names()):
            shown = {"_id": 1} if name.endswith(".chunks") else None
            for document in await database[name].find({}, shown).to_list(None):
                found[name, str(document["_id"])] = document
        return found


def _code(answer: httpx.Response) -> str:
    by_status = {401: "unauthenticated", 403: "forbidden", 404: "not_found"}
    if answer.request.method == "HEAD":
        return by_status.get(answer.status_code, str(answer.status_code))
    code: str = answer.json()["code"]
    return code


async def visits_in_every_state(house: House, owner: Caller, patient_id: str, medium: str) -> dict[str, Any]:
    """A visit for each act of the table, so that none stands in another's way."""
    made: dict[str, Any] = {"visit_form": await house.form(patient_id)}
    form = {**made["visit_form"], "attachments": [medium]}
    cases: dict[str, Case] = {}
    for name, acts in {
        "unpaid": None,
        "waiting": (),
        "acceptable": (),
        "declinable": (),
        "visit": ("accept",),
        "completable": ("accept",),
        "terminable": ("accept",),
        "refundable": ("accept",),
        "ended": ("accept", "complete"),
        "rated": ("accept", "complete"),
    }.items():
        visit = await house.submit(owner, form)
        case = cases[name] = Case(house, owner, house.doctor, visit["_id"], visit["order_id"])
        if acts is None:
            continue
        await case.open_payment()
        assert await house.pay(case.order_id)
        await case.word()
        for act in acts:
            await case.act(house.doctor, act)
    await ratings.rate(house.ctx, caller=owner, visit_id=cases["rated"].id, stars=4, text="")
    made |= {name: case.id for name, case in cases.items()}
    return made | {"order": cases["visit"].order_id, "unpaid_order": cases["unpaid"].order_id}


async def staff_of(house: House) -> dict[str, Caller]:
    """The hospital's people, each with an account; `member` and `spare_member` are for the office to work at."""
    callers = {"doctor": house.doctor, "other_doctor": house.other_doctor}
    for name in (*STAFF, "member", "spare_member"):
        role = {"other_nurse": "nurse", "member": "pharmacist", "spare_member": "pharmacist"}.get(name, name)
        callers.setdefault(name, caller_of(role))
    departments = {"nurse": "cardiology", "other_nurse": "neurology"}
    # One password for all: making it costs more than all the rest.
    form = {"account": "staff", "phone": "19900090000", "name": "演示", "role": "nurse", "password": "correct-horse-7"}
    draft = await accounts.draft_staff(house.ctx, **form)
    for name, caller in callers.items():
        own: Any = {"_id": caller.id, "role": caller.role, "login": f"staff-{caller.id}", "phone_index": caller.id}
        await house.ctx.accounts.add({**draft, **own, "department_id": departments.get(name)})
    return callers


async def patients_of(house: House, owner: Caller) -> dict[str, str]:
    """A family member to take off the list, and a child whose guardian may be set."""
    form = {"id_type": "01", "gender": "1", "phone": "19900098888", "relation": "child"}
    child = {**form, "name": "演示孩童", "id_number": valid_id_number("20180601"), "birth_date": "2018-06-01"}
    spare = {**form, "name": "演示亲戚", "id_number": valid_id_number("19610512"), "birth_date": "1961-05-12"}
    made = [await patients.add(house.ctx, caller=owner, form=one) for one in (child, spare)]
    return {"child": made[0]["_id"], "spare_patient": made[1]["_id"], "id_number": valid_id_number("19850203")}


async def upload_begun(owner: Person) -> str:
    """A resumable upload of which nothing has come yet."""
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "3", "Upload-Metadata": "filetype aW1hZ2UvanBlZw=="}
    begun = await owner.send("POST", "/media/uploads", headers=headers)
    return begun.headers["Location"].rpartition("/")[2]


async def recorded_call(house: House, visit: str) -> dict[str, str]:
    """A call of the visit that has ended, with a film, and the doctor's link to that."""
    ctx, doctor = house.ctx, house.doctor
    await publish_consent(ctx)
    session = Session(
        id=new_id(),
        account=doctor.id,
        role=doctor.role,
        device="desk",
        login=doctor.session,
        expires_at=0,
        address="127.0.0.1",
        scope="full",
        call=None,
    )
    call = (await calls.invite(ctx, session, new_id(), conversation=visit, media="audio"))["_id"]
    await calls.end(ctx, session, call_id=call, act="cancel")
    await keep_film(ctx, call, b"film")
    expires = int(ctx.clock.now().timestamp()) + 300
    link = links.url(links.Grant(call, "film", doctor.id, expires, kind="recording"), ctx.secrets.links)
    return {"call": call, "recording_link": link, "forged_recording_link": link[:-4] + "AAAA"}


@asynccontextmanager
async def furnished(house: House) -> AsyncIterator[Subjects]:
    """One of everything that has an owner."""
    ctx = house.ctx
    now = ctx.clock.now()
    await ctx.hospitals.add({**read("hospital")[0], "_id": HOSPITAL_ID, "created_at": now, "updated_at": now})
    callers = await staff_of(house)
    callers["owner"], patient_id = await house.patient(name="演示本人")
    callers["other_patient"], _ = await house.patient(name="演示他人")
    people = {name: house.person(caller) for name, caller in callers.items()}
    people["anonymous"] = Person(house.http, house.url)
    owner, doctor = people["owner"], people["doctor"]
    medium, own_medium = [await owner.upload(picture(), "image/jpeg") for _ in range(2)]
    photo = await doctor.upload(picture(), "image/jpeg")
    await doctor.call("PATCH", "/desk/profile", {"photo": photo["id"]})
    named = await visits_in_every_state(house, callers["owner"], patient_id, medium["id"])
    link = (await owner.post(f"/media/{medium['id']}/links", {"variant": "original"}))["url"]
    named |= await recorded_call(house, named["visit"])
    account = await ctx.accounts.get(callers["owner"].id)
    assert account is not None
    await sessions.start(ctx, account, "sms")
    [session] = await sessions.standing(ctx, account["_id"])
    made = [await groups.create(ctx, caller=house.doctor, name=name) for name in ("复诊", "随访")]
    named |= await patients_of(house, callers["owner"])
    named |= {name: await upload_begun(owner) for name in ("upload", "spare_upload")}
    named |= {
        "patient": patient_id,
        "patient_account": callers["owner"].id,
        "doctor": house.doctor.id,
        "auditor": callers["auditor"].id,
        "member": callers["member"].id,
        "spare_member": callers["spare_member"].id,
        "medium": medium["id"],
        "own_medium": own_medium["id"],
        "link": link,
        "forged_link": link[:-4] + "AAAA",
        "administrator_form": {"account": "one-more", "role": "auditor", "name": "演示", "phone": "19900090999"},
        "session": session["_id"],
        "group": made[0]["_id"],
        "spare_group": made[1]["_id"],
    }
    chat = await serving.start(replace(house.settings, listen_port=0), "im")
    subjects = Subjects(house, callers, people, chat, named)
    try:
        named["said"] = (await (await subjects.line("owner")).say(named["visit"], "您好"))["seq"]
        yield subjects
    finally:
        for line in subjects.lines.values():
            await line.close()
        await chat.stop()


@asynccontextmanager
async def open_subjects(mongo_uri: str, redis_url: str, folder: Path, database: str) -> AsyncIterator[Subjects]:
    """Two processes, one for REST and one for the chat, on an empty database that is furnished."""
    async with open_house(mongo_uri, redis_url, folder, database) as house, furnished(house) as subjects:
        yield subjects
