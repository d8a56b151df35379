from dataclasses import replace

import pytest

from core.accounts import service as accounts
from core.backoffice import staff
from core.errors import Conflict, Forbidden, Invalid, NotFound
from storage.redis import BUS_AWAY
from storage.tickets import Tickets
from tests.core.partial import caller_of, let_down, lift
from tests.people import new_phone

ADMIN, GUARD = caller_of("admin", "office"), caller_of("security_admin", "guard")
PASSWORD = "correct-horse-7"


@pytest.fixture
def ctx(hospital):
    """The whole hospital: staff reach into accounts, sessions, doctors and the catalogue."""
    return hospital.ctx


@pytest.fixture
def lifted(io_loop, ctx):
    """Both administrators have proven themselves."""
    for caller in (ADMIN, GUARD):
        io_loop.run_sync(lambda caller=caller: lift(ctx, caller))
    yield
    for caller in (ADMIN, GUARD):
        io_loop.run_sync(lambda caller=caller: let_down(ctx, caller))


async def create(ctx, caller=ADMIN, role="nurse", **changes):
    phone = new_phone()
    form = {
        "account": f"s{phone}",
        "role": role,
        "name": "沈知秋",
        "phone": phone,
        "department_id": None,
        "password": PASSWORD,
        "doctor": None,
    } | changes
    return await staff.create(ctx, caller=caller, **form)


@pytest.mark.gen_test
async def test_a_made_password_is_told_once_and_a_given_one_never(ctx):
    made, given = await create(ctx, password=None), await create(ctx)
    assert (len(made["initial_password"]), given["initial_password"]) == (16, None)
    assert made["password_change_due"] is given["password_change_due"] is True
    assert "initial_password" not in await staff.one(ctx, made["id"])


@pytest.mark.gen_test
async def test_what_no_member_of_staff_may_have_is_refused_and_nothing_is_made(ctx):
    for wrong in (
        {"password": "short1"},
        {"department_id": "nowhere"},
        {"doctor": {"title": "231"}},  # a nurse has no page
    ):
        login = f"s{new_phone()}"
        with pytest.raises(Invalid):
            await create(ctx, account=login, **wrong)
        assert await ctx.accounts.by_login(login) is None


@pytest.mark.rule("R5-7")
@pytest.mark.gen_test
async def test_history_names_who_did_what_and_keeps_people_masked(ctx, lifted):
    made = await create(ctx)
    phone = new_phone()
    await staff.change(ctx, caller=ADMIN, account_id=made["id"], values={"name": "沈秋", "phone": phone})
    shown = await staff.one(ctx, made["id"])
    steps = [(step["act"], step["frm"], step["to"], step["actor"]) for step in shown["history"]]
    masked = f"{phone[:3]}****{phone[-4:]}"
    assert steps == [
        ("create", "", "nurse", "office"),
        ("change_name", "沈*", "沈*", "office"),
        ("change_phone", made["phone"], masked, "office"),
    ]
    assert (shown["name"], shown["phone"]) == ("沈秋", masked)
    index = ctx.cipher.blind(phone, field="accounts.phone")
    assert (await ctx.accounts.by_phone("staff", index))["_id"] == made["id"]


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test
async def test_dangerous_acts_without_a_fresh_proof_do_nothing(ctx):
    made = await create(ctx)
    before = await ctx.accounts.get(made["id"])
    id_ = made["id"]
    for asked in (
        staff.change(ctx, caller=GUARD, account_id=id_, values={"role": "doctor"}),
        staff.change(ctx, caller=ADMIN, account_id=id_, values={"status": "disabled"}),
        staff.change(ctx, caller=ADMIN, account_id=id_, values={"phone": new_phone()}),
        staff.reset_password(ctx, caller=ADMIN, account_id=id_, password=None),
        staff.reset_second_factor(ctx, caller=GUARD, account_id=id_),
        create(ctx, GUARD, "auditor"),
    ):
        with pytest.raises(Forbidden) as refused:
            await asked
        assert refused.value.code == "elevation_required"
    assert await ctx.accounts.get(id_) == before


@pytest.mark.gen_test
async def test_with_redis_away_nobody_is_lifted(ctx, lifted):
    made = await create(ctx)

    class Away(Tickets):
        async def read(self, digest):
            raise BUS_AWAY[0]

    with pytest.raises(BUS_AWAY):
        await staff.change(
            replace(ctx, tickets=Away(None)), caller=ADMIN, account_id=made["id"], values={"status": "disabled"}
        )
    assert (await ctx.accounts.get(made["id"]))["status"] == "active"


@pytest.mark.gen_test
async def test_a_changed_role_raises_the_epoch_once_and_a_repeat_changes_nothing(ctx, lifted):
    made = await create(ctx)
    for _ in range(2):
        changed = await staff.change(ctx, caller=GUARD, account_id=made["id"], values={"role": "pharmacist"})
        assert changed["role"] == "pharmacist"
    account = await ctx.accounts.get(made["id"])
    assert (account["epoch"], len(account["history"])) == (1, 2)


@pytest.mark.gen_test
async def test_a_doctor_who_becomes_something_else_is_offered_to_nobody(ctx, lifted):
    doctor = await ctx.accounts.by_login("guhuaijin")
    page = await ctx.doctors.get(doctor["_id"])
    wanted = {name: page[name] for name in page if name not in ("_id", "name", "history", "photo", "paused")}
    for name in ("online", "rating_sum", "rating_count", "version", "created_at", "updated_at", "suspended"):
        wanted.pop(name, None)
    made = await create(ctx, role="doctor", doctor=wanted)
    assert ctx.catalogue.offers(ctx.catalogue.doctor(made["id"]), ctx.clock.now().date()) != ()
    await staff.change(ctx, caller=GUARD, account_id=made["id"], values={"role": "nurse"})
    assert (await ctx.doctors.get(made["id"]))["suspended"] is True
    await staff.change(ctx, caller=GUARD, account_id=made["id"], values={"role": "doctor"})
    assert (await ctx.doctors.get(made["id"]))["suspended"] is False


@pytest.mark.gen_test
async def test_an_account_that_changed_since_it_was_read_is_a_conflict(ctx, lifted):
    made = await create(ctx)
    seen = await ctx.accounts.get(made["id"])
    await staff.change(ctx, caller=GUARD, account_id=made["id"], values={"role": "auditor"})
    with pytest.raises(Conflict):
        await staff._write(ctx, ADMIN, seen, {"status": "disabled"}, acts=["change_status"], call_back=True)
    assert (await ctx.accounts.get(made["id"]))["status"] == "active"


@pytest.mark.gen_test
async def test_patients_are_no_staff(ctx, lifted):
    patient = await accounts.create_patient_account(ctx, phone=new_phone())
    for asked in (
        staff.one(ctx, patient["_id"]),
        staff.change(ctx, caller=GUARD, account_id=patient["_id"], values={"role": "admin"}),
        staff.unlock(ctx, caller=GUARD, account_id=patient["_id"]),
        staff.link_doctor(ctx, caller=ADMIN, account_id=patient["_id"], page={}),
    ):
        with pytest.raises(NotFound):
            await asked
    assert await ctx.accounts.get(patient["_id"]) == patient
