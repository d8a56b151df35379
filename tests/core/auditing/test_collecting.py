import asyncio
from datetime import timedelta

import pytest
from pymongo.errors import AutoReconnect

from core.auditing import collecting, rules
from core.auditing.collecting import collect, oldest_waiting
from core.backoffice import consent_texts, departments, settings
from core.backoffice import service as backoffice
from tests.core.partial import caller_of
from tests.storage.test_calls import a_call

pytestmark = pytest.mark.gen_test(timeout=30)
ADMIN = caller_of("admin")


def told(entries):
    return [(one["act"], one["actor"], one["role"], one["frm"], one["to"]) for one in entries]


@pytest.mark.rule("R5-7")
async def test_every_move_of_a_visit_and_its_order_is_in_the_trail_with_who_made_it(trail):
    case = await trail.house.completed()
    await collect(trail.ctx)
    patient, doctor = (case.patient.id, "patient"), (case.doctor.id, "doctor")
    assert told(await trail.about(f"visit:{case.id}")) == [
        ("visit.create", *patient, "pending_payment", "pending_payment"),
        ("visit.submit", "gateway", "system", "pending_payment", "waiting"),
        ("visit.accept", *doctor, "waiting", "in_progress"),
        ("visit.complete", *doctor, "in_progress", "completed"),
    ]
    assert told(await trail.about(f"order:{case.order_id}")) == [("order.pay", "gateway", "system", "pending", "paid")]
    assert await oldest_waiting(trail.ctx) is None


@pytest.mark.parametrize("name", sorted(rules.KINDS))
async def test_a_change_of_every_kind_of_document_waits_for_the_trail_and_comes_into_it_once(trail, name):
    ctx = trail.ctx
    changes = {
        "visits": trail.house.submitted,
        "orders": trail.house.waiting,
        "calls": lambda: ctx.calls.add({**a_call(ADMIN.id), "history": [entry]}),
        "patients": trail.house.patient,
        "accounts": lambda: ctx.accounts.alter(account, {}, entries=[entry], call_back=False, at=entry["at"]),
        "doctors": lambda: ctx.doctors.suspend(trail.house.other_doctor.id, suspended, entry=entry),
        "departments": lambda: departments.create(
            ctx, caller=ADMIN, code="03.04", name="科室", introduction="", order=None
        ),
        "consult_types": lambda: backoffice.create_consult_type(
            ctx, caller=ADMIN, name=f"类型{ADMIN.id}", description="", order=None, enabled=True
        ),
        "consent_texts": lambda: consent_texts.publish(
            ctx, caller=ADMIN, kind="consult_notice", version=ADMIN.id, title="t", body="b", effective_from=None
        ),
        "settings_changes": lambda: settings.change(ctx, caller=ADMIN, values={"visits_per_hour": 31}),
    }
    entry = {"at": ctx.clock.now(), "actor": ADMIN.id, "role": "admin", "act": "look", "frm": "", "to": ""}
    account = await ctx.accounts.get((await trail.house.patient())[0].id) if name == "accounts" else None
    suspended = not (await ctx.doctors.get(trail.house.other_doctor.id)).get("suspended", False)
    await changes[name]()
    waiting = await getattr(ctx, name).unaudited(9)
    assert waiting
    await collect(ctx)
    await collect(ctx)
    kind = rules.KINDS[name]
    entries = [one for one in await trail.every() if one["act"].startswith(f"{kind}.")]
    assert len(entries) == sum(len(one.get("history", [None])) for one in waiting)
    assert await getattr(ctx, name).unaudited(9) == []


async def test_two_workers_and_a_repeat_double_nothing(trail):
    case = await trail.house.completed()
    await asyncio.gather(*(collect(trail.ctx) for _ in range(4)))
    await trail.ctx.store.db["visits"].update_one(
        {"_id": case.id}, {"$set": {"unaudited_since": trail.ctx.clock.now()}, "$unset": {"audited_steps": ""}}
    )
    await collect(trail.ctx)
    assert len(await trail.about(f"visit:{case.id}")) == 4


async def test_a_kill_between_copying_and_noting_loses_nothing_and_doubles_nothing(trail, monkeypatch):
    case = await trail.house.completed()

    async def die(self, id_, steps):
        raise AutoReconnect("killed")

    with monkeypatch.context() as dying:
        dying.setattr(collecting.Traced, "note_audited", die)
        with pytest.raises(AutoReconnect):
            await collect(trail.ctx)
    assert await oldest_waiting(trail.ctx) is not None
    await collect(trail.ctx)
    assert len(await trail.about(f"visit:{case.id}")) == 4
    assert await oldest_waiting(trail.ctx) is None


async def test_a_trail_that_is_away_keeps_no_payment_waiting(trail, monkeypatch):
    async def away(entries):
        raise AutoReconnect("away")

    monkeypatch.setattr(trail.ctx.audit_entries, "add", away)
    case = await trail.house.in_progress()
    with pytest.raises(AutoReconnect):
        await collect(trail.ctx)
    assert await case.standing() == ("in_progress", "paid")
    assert ((await case.visit())["duties"], (await case.order())["duties"]) == ([], [])
    monkeypatch.undo()
    await collect(trail.ctx)
    assert len(await trail.about(f"visit:{case.id}")) == 3


async def test_the_longest_waiting_step_is_told(trail):
    await trail.house.submitted()
    await trail.house.submitted()
    since = min(one["unaudited_since"] for one in await trail.ctx.visits.unaudited(9))
    assert timedelta(0) <= since - await oldest_waiting(trail.ctx) < timedelta(seconds=10)
