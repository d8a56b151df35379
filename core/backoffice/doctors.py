"""Doctors as the office keeps them: licence, filing, services granted and fees; and why somebody is not offered.

A doctor's page belongs to a doctor's account and has its id. A change holds for the next request in every process.
"""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from core import data, outbox
from core.auth import SYSTEM, Caller
from core.backoffice import changes
from core.directory import rules as directory
from core.errors import Conflict, Invalid, NotFound
from core.ids import china_today
from storage.accounts import Account
from storage.doctors import Doctor

if TYPE_CHECKING:
    from core.context import Context


async def every(ctx: "Context", *, offered: bool | None = None) -> list[dict[str, Any]]:
    """All doctors by department and title, each with the reasons why patients may ask them for nothing today."""
    rows = [present(ctx, doctor) for doctor in await ctx.doctors.every()]
    wanted = [row for row in rows if offered is None or (not row["bars"]) is offered]
    return sorted(wanted, key=lambda row: (row["department_id"], row["title"], row["_id"]))


async def one(ctx: "Context", doctor_id: str) -> dict[str, Any]:
    """A doctor with their history; unknown: `NotFound`."""
    doctor = await ctx.doctors.get(doctor_id)
    if doctor is None:
        raise NotFound
    return present(ctx, doctor)


def present(ctx: "Context", doctor: Doctor) -> dict[str, Any]:
    """The document, with `bars`: code and reason of each."""
    found = directory.bars(doctor, china_today(ctx.clock), ctx.policy)
    return {**doctor, "bars": [{"code": code, "reason": directory.BARS[code]} for code in found]}


async def create(ctx: "Context", *, caller: Caller, account: Account, name: str, page: Mapping[str, Any]) -> Doctor:
    """The page of a doctor's account, which is stored already; `duplicate` when it has one."""
    require_valid(ctx, page)
    now = ctx.clock.now()
    # The schema of the page gives exactly the fields that are not named here.
    made: Any = {
        **page,
        "_id": account["_id"],
        "name": name,
        "photo": None,
        "online": False,
        "rating_sum": 0,
        "rating_count": 0,
        "version": 1,
        "history": [outbox.entry(caller.actor, "create", frm="", to=account["_id"], at=now)],
        "created_at": now,
        "updated_at": now,
    }
    doctor: Doctor = made
    if not await ctx.doctors.add(doctor):
        raise Conflict("该医生已有主页", code="duplicate")
    await ctx.catalogue.changed(account["_id"])
    return doctor


async def change(ctx: "Context", *, caller: Caller, doctor_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Change licence, filing, services or fees; who may not practise any more goes offline with it.

    `Invalid` naming fields that no doctor may have, `conflict` when somebody changes the page at the same moment or
    `values["version"]` is not its version any more; nothing is changed then.
    """
    seen = await ctx.doctors.get(doctor_id)
    if seen is None:
        raise NotFound
    wanted = {name: value for name, value in values.items() if name != "version"}
    require_valid(ctx, wanted)
    if values.get("version", seen["version"]) != seen["version"]:
        raise Conflict
    differing = changes.differing(seen, wanted)
    if not differing:
        return present(ctx, seen)
    now = ctx.clock.now()
    entries = changes.entries(caller, seen, differing, at=now)
    after: Any = {**seen, **differing}
    if seen["online"] and not directory.may_practise(after, china_today(ctx.clock), ctx.policy):
        differing["online"] = False
        entries.append(outbox.entry(SYSTEM, "change_online", frm="true", to="false", at=now))
    if not await ctx.doctors.change(seen, differing, entries=entries, at=now):
        raise Conflict
    await ctx.catalogue.changed(doctor_id)
    return await one(ctx, doctor_id)


async def follow_account(ctx: "Context", *, caller: Caller, account: Account, name: str) -> None:
    """Bring the page, if there is one, in line with its account: its name, and whether it is a doctor's at work."""
    doctor = await ctx.doctors.get(account["_id"])
    if doctor is None:
        return
    now = ctx.clock.now()
    suspended = account["role"] != "doctor" or account["status"] != "active"
    entry = outbox.entry(caller.actor, "suspend" if suspended else "resume", frm="", to="", at=now)
    moved = await ctx.doctors.suspend(account["_id"], suspended, entry=entry)
    if doctor["name"] != name:
        seen = await ctx.doctors.get(account["_id"]) or doctor
        entries = changes.entries(caller, seen, {"name": name}, at=now)
        moved = await ctx.doctors.change(seen, {"name": name}, entries=entries, at=now) or moved
    if moved:
        await ctx.catalogue.changed(account["_id"])


def require_valid(ctx: "Context", page: Mapping[str, Any]) -> None:
    """`Invalid` naming every field that no doctor of this hospital may have."""
    subjects = {row["code"] for row in data.table("subjects")}
    wrong = {
        "department_id": page.get("department_id") not in {None, *(one["_id"] for one in ctx.catalogue.departments())}
        and "没有这个科室",
        "title": page.get("title") not in {None, *(row["code"] for row in data.table("titles"))}
        and "不是职称代码（GB/T 8561）",
        "practice_scope": not subjects.issuperset(page.get("practice_scope", ())) and "不是诊疗科目名录中的代码",
        "practice_start": "practice_start" in page
        and date.fromisoformat(page["practice_start"]) > china_today(ctx.clock)
        and "不能晚于今天",
    }
    faults = {name: [said] for name, said in wrong.items() if said}
    low, high = ctx.policy.consult_fee_low, ctx.policy.consult_fee_high
    for service, fee in page.get("fees", {}).items():
        if not low <= fee <= high:
            faults[f"fees.{service}"] = [f"须在本院价格范围 {low} 至 {high} 分之间"]
    if faults:
        raise Invalid(next(iter(faults.values()))[0], errors=faults)
