"""The hospital's people and their accounts, kept by administrators who are kept apart from each other (R6-3).

`rules.MAY` says who may do what to whom. Dangerous acts ask for a fresh proof first (`core/accounts/elevation.py`). An
account that may no longer do what its tokens say is called back: every session ends, live sockets included.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from core import outbox
from core.accounts import elevation, passwords, sessions
from core.accounts import rules as account_rules
from core.accounts import service as accounts
from core.auth import Caller
from core.backoffice import doctors, rules
from core.backoffice.changes import as_text
from core.errors import Conflict, Invalid, NotFound
from storage.accounts import Account, Status
from storage.mongo import DuplicateKey

if TYPE_CHECKING:
    from core.context import Context

# Field of a change → the act it is (`rules.MAY`).
ACT_OF: Mapping[str, rules.Act] = {
    "name": "describe",
    "phone": "describe",
    "department_id": "describe",
    "status": "status",
    "role": "role",
}


async def listed(
    ctx: "Context", *, role: str | None, status: Status | None, limit: int, cursor: str | None
) -> list[dict[str, Any]]:
    """Staff accounts with masked phones, newest first, one more than `limit` when there are more."""
    found = await ctx.accounts.staff(role=role, status=status, before=cursor, limit=limit + 1)
    return [present(ctx, account) for account in found]


async def one(ctx: "Context", account_id: str) -> dict[str, Any]:
    """One staff account with its history; `NotFound` for patients too."""
    return present(ctx, await _require(ctx, account_id))


async def create(
    ctx: "Context",
    *,
    caller: Caller,
    account: str,
    role: str,
    name: str,
    phone: str,
    department_id: str | None,
    password: str | None,
    doctor: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A new account, and a doctor's page with it when `doctor` is given; without a password one is made and told once.

    `Invalid` naming what no member of staff may have, `duplicate` when the name or the phone is taken: nothing is made
    then. A page that could not be stored after its account is made later by `link_doctor`.
    """
    rules.require_may(caller, "create", role=role)
    if role in rules.ADMINISTRATORS:
        await elevation.require(ctx, caller)
    if doctor is not None:
        if role != "doctor":
            raise Invalid.field("doctor", "只有医师有主页")
        doctors.require_valid(ctx, doctor)
        department_id = department_id or doctor["department_id"]
    _require_department(ctx, department_id)
    told = None if password is not None else account_rules.new_password()
    made = await accounts.draft_staff(
        ctx,
        account=account,
        phone=phone,
        name=name,
        role=role,
        password=password or told or "",
        department_id=department_id,
    )
    now = ctx.clock.now()
    made["password_expires_at"] = now + timedelta(seconds=ctx.policy.initial_password_seconds)
    made["history"] = [outbox.entry(caller.actor, "create", frm="", to=role, at=now)]
    try:
        await ctx.accounts.add(made)
    except DuplicateKey as error:
        raise _taken() from error
    if doctor is not None:
        await doctors.create(ctx, caller=caller, account=made, name=name, page=doctor)
    return {**present(ctx, made), "initial_password": told}


async def link_doctor(ctx: "Context", *, caller: Caller, account_id: str, page: Mapping[str, Any]) -> dict[str, Any]:
    """The page of a doctor's account that has none; `NotFound` for an account that is no doctor's."""
    account = await _require(ctx, account_id)
    if account["role"] != "doctor":
        raise NotFound
    rules.require_may(caller, "describe", role="doctor")
    made = await doctors.create(ctx, caller=caller, account=account, name=_name(ctx, account), page=page)
    await doctors.follow_account(ctx, caller=caller, account=account, name=made["name"])
    return await doctors.one(ctx, account_id)


async def change(ctx: "Context", *, caller: Caller, account_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Change name, phone, department, status or role; the doctor's page follows.

    A changed role and a disabled account end every session. `Forbidden` for what the caller's role may not do to this
    account, `elevation_required` for role, phone and disabling without a fresh proof, `duplicate` for a phone that
    another member of staff has, `conflict` when somebody changes the account at the same moment: nothing is changed
    then.
    """
    seen = await _require(ctx, account_id)
    for field in values:
        rules.require_may(caller, ACT_OF[field], role=seen["role"], account_id=account_id)
    if rules.DANGEROUS & set(values) or values.get("status") == "disabled":
        await elevation.require(ctx, caller)
    _require_department(ctx, values.get("department_id"))
    before = _plain(ctx, seen)
    wanted = {field: value for field, value in values.items() if value != before[field]}
    after = await _alter(ctx, caller, seen, before, wanted) if wanted else seen
    if seen["role"] == "doctor" or after["role"] == "doctor":
        await doctors.follow_account(ctx, caller=caller, account=after, name=_name(ctx, after))
    return present(ctx, after)


async def reset_password(
    ctx: "Context", *, caller: Caller, account_id: str, password: str | None
) -> dict[str, str | None]:
    """A new first password, told once unless it was given; every session ends. Needs a fresh proof."""
    seen = await _require(ctx, account_id)
    rules.require_may(caller, "password", role=seen["role"], account_id=account_id)
    await elevation.require(ctx, caller)
    told = None if password is not None else account_rules.new_password()
    chosen = password or told or ""
    account_rules.require_password(chosen, seen["login"] or "")
    expires_at = ctx.clock.now() + timedelta(seconds=ctx.policy.initial_password_seconds)
    values = {"password_hash": await passwords.make_hash(chosen), "password_expires_at": expires_at}
    await _write(ctx, caller, seen, values, acts=["reset_password"], call_back=True)
    return {"initial_password": told}


async def unlock(ctx: "Context", *, caller: Caller, account_id: str) -> None:
    """Lift the lock of wrong passwords and codes, and forget their count."""
    seen = await _require(ctx, account_id)
    rules.require_may(caller, "unlock", role=seen["role"], account_id=account_id)
    await _write(ctx, caller, seen, {"wrong_tries": 0, "locked_until": None}, acts=["unlock"], call_back=False)


async def reset_second_factor(ctx: "Context", *, caller: Caller, account_id: str) -> None:
    """Forget a lost authenticator: every session ends, and the next login binds another where one is required.

    Needs a fresh proof.
    """
    seen = await _require(ctx, account_id)
    rules.require_may(caller, "second_factor", role=seen["role"], account_id=account_id)
    await elevation.require(ctx, caller)
    await _write(ctx, caller, seen, {"second_factor": None}, acts=["reset_second_factor"], call_back=True)


async def sessions_of(ctx: "Context", *, caller: Caller, account_id: str) -> list[dict[str, Any]]:
    """The sessions of an account that have not ended, newest first."""
    seen = await _require(ctx, account_id)
    rules.require_may(caller, "sessions", role=seen["role"], account_id=account_id)
    found = await sessions.standing(ctx, account_id)
    return [account_rules.describe_session(one, current=caller.session) for one in found]


async def end_sessions(ctx: "Context", *, caller: Caller, account_id: str) -> None:
    """End all of them, live sockets included."""
    seen = await _require(ctx, account_id)
    rules.require_may(caller, "sessions", role=seen["role"], account_id=account_id)
    await _write(ctx, caller, seen, {}, acts=["end_sessions"], call_back=True)


def present(ctx: "Context", account: Account) -> dict[str, Any]:
    """The account as the office sees it."""
    return {
        **account_rules.describe(ctx.cipher, account),
        "status": account["status"],
        "department_id": account["department_id"],
        "second_factor": account["second_factor"] is not None,
        "locked_until": account["locked_until"],
        "password_change_due": account.get("password_expires_at") is not None,
        "created_at": account["created_at"],
        "updated_at": account["updated_at"],
        "history": account.get("history", []),
    }


async def _alter(
    ctx: "Context", caller: Caller, seen: Account, before: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Account:
    values: dict[str, Any] = dict(wanted)
    if "phone" in wanted:
        account_rules.require_phone(wanted["phone"])
        values["phone"] = ctx.cipher.seal(wanted["phone"], field=account_rules.PHONE_FIELD)
        values["phone_index"] = ctx.cipher.blind(wanted["phone"], field=account_rules.PHONE_FIELD)
    if "name" in wanted:
        values["name"] = ctx.cipher.seal(wanted["name"], field=account_rules.NAME_FIELD)
    steps = [f"change_{field}" for field in wanted]
    spoken = {
        f"change_{field}": (_spoken(field, before[field]), _spoken(field, value)) for field, value in wanted.items()
    }
    call_back = "role" in wanted or wanted.get("status") == "disabled"
    return await _write(ctx, caller, seen, values, acts=steps, call_back=call_back, spoken=spoken)


async def _write(
    ctx: "Context",
    caller: Caller,
    seen: Account,
    values: Mapping[str, Any],
    *,
    acts: list[str],
    call_back: bool,
    spoken: Mapping[str, tuple[str, str]] | None = None,
) -> Account:
    """Store it with its history, then tell whom it throws out; `conflict` when the account is not as seen any more."""
    now = ctx.clock.now()
    entries = []
    for act in acts:
        frm, to = (spoken or {}).get(act, ("", ""))
        entries.append(outbox.entry(caller.actor, act, frm=frm, to=to, at=now))
    try:
        written = await ctx.accounts.alter(seen, values, entries=entries, call_back=call_back, at=now)
    except DuplicateKey as error:
        raise _taken() from error
    after = await ctx.accounts.get(seen["_id"])
    if not written or after is None:
        raise Conflict
    if call_back:
        await sessions.tell_called_back(ctx, after)
    return after


async def _require(ctx: "Context", account_id: str) -> Account:
    account = await ctx.accounts.get(account_id)
    if account is None or account["audience"] != "staff":
        raise NotFound
    return account


def _require_department(ctx: "Context", department_id: str | None) -> None:
    if department_id is not None and all(one["_id"] != department_id for one in ctx.catalogue.departments()):
        raise Invalid.field("department_id", "没有这个科室")


def _plain(ctx: "Context", account: Account) -> dict[str, Any]:
    return {
        "name": _name(ctx, account),
        "phone": ctx.cipher.open(account["phone"], field=account_rules.PHONE_FIELD),
        "department_id": account["department_id"],
        "status": account["status"],
        "role": account["role"],
    }


def _name(ctx: "Context", account: Account) -> str:
    name: str = account_rules.describe(ctx.cipher, account)["name"]
    return name


def _spoken(field: str, value: Any) -> str:
    """As history keeps it: names and phones of people only masked (R6-5)."""
    if field == "phone":
        return account_rules.masked_phone(value)
    return f"{value[:1]}*" if field == "name" else as_text(value)


def _taken() -> Conflict:
    said = "该账号名或手机号已属于其他工作人员"
    return Conflict(said, code="duplicate", errors={"account": [said]})
