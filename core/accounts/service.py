"""Accounts themselves: how they come to be, what their owners see and change, and how they are shut."""

from typing import TYPE_CHECKING, Any

from core import audit
from core.accounts import passwords, rules, sessions, tries
from core.accounts.sessions import LoggedIn
from core.auth import STAFF_ROLES, Caller
from core.errors import Conflict, Invalid, Unauthenticated
from core.ids import new_id
from storage.accounts import Account, Audience
from storage.mongo import DuplicateKey

if TYPE_CHECKING:
    from core.context import Context


async def me(ctx: "Context", *, caller: Caller) -> dict[str, Any]:
    """The caller's own account as they see it."""
    return rules.describe(ctx.cipher, await _own(ctx, caller))


async def rename(ctx: "Context", *, caller: Caller, name: str) -> dict[str, Any]:
    """Change the name by which a patient is called; staff are named by the back office."""
    account = await _own(ctx, caller)
    sealed = ctx.cipher.seal(name, field=rules.NAME_FIELD)
    await ctx.accounts.set_name(account["_id"], sealed, ctx.clock.now())
    return rules.describe(ctx.cipher, {**account, "name": sealed})


async def sessions_of(ctx: "Context", *, caller: Caller) -> list[dict[str, Any]]:
    """The caller's sessions that have not ended, newest first."""
    return [rules.describe_session(one, current=caller.session) for one in await sessions.standing(ctx, caller.id)]


async def openid_of(ctx: "Context", account_id: str) -> str | None:
    """The WeChat user who last logged in to this account in its mini-program, who alone can be asked to pay there."""
    account = await ctx.accounts.get(account_id)
    return None if account is None else account.get("openid")


def draft_patient(ctx: "Context", *, phone: str, name: str | None = None) -> Account:
    """A patient's account, not stored yet."""
    return _draft(ctx, id_=new_id(), audience="patient", role="patient", phone=phone, name=name)


async def create_patient_account(ctx: "Context", *, phone: str, name: str | None = None) -> Account:
    """The patient account of this phone, made when there is none; a name is kept only by a new one.

    `Invalid` for what is no mainland mobile number.
    """
    rules.require_phone(phone)
    index = ctx.cipher.blind(phone, field=rules.PHONE_FIELD)
    known = await ctx.accounts.by_phone("patient", index)
    if known is not None:
        return known
    account = draft_patient(ctx, phone=phone, name=name)
    try:
        await ctx.accounts.add(account)
    except DuplicateKey:  # two first logins at once
        known = await ctx.accounts.by_phone("patient", index)
        if known is None:
            raise
        return known
    return account


async def create_staff(
    ctx: "Context",
    *,
    account: str,
    phone: str,
    name: str,
    role: str,
    password: str,
    department_id: str | None = None,
    id_: str | None = None,
) -> Account:
    """The staff account of this name, made when there is none; an existing one is answered as it is.

    A doctor's account is given the doctor's id. `Invalid` for a role, phone, name or password that staff may not have;
    `duplicate` when the phone or the id belongs to another member of staff.
    """
    known = await ctx.accounts.by_login(account)
    if known is not None:
        return known
    made = await draft_staff(
        ctx, account=account, phone=phone, name=name, role=role, password=password, department_id=department_id, id_=id_
    )
    try:
        await ctx.accounts.add(made)
    except DuplicateKey as error:
        known = await ctx.accounts.by_login(account)
        if known is None:
            raise Conflict("该手机号或编号已属于其他工作人员", code="duplicate") from error
        return known
    return made


async def draft_staff(
    ctx: "Context",
    *,
    account: str,
    phone: str,
    name: str,
    role: str,
    password: str,
    department_id: str | None = None,
    id_: str | None = None,
) -> Account:
    """A staff account, not stored yet; `Invalid` for a role, phone, name or password that staff may not have."""
    if role not in STAFF_ROLES:
        raise Invalid.field("role", "不是医院工作人员的角色")
    rules.require_login(account)
    rules.require_phone(phone)
    rules.require_password(password, account)
    made = _draft(ctx, id_=id_ or new_id(), audience="staff", role=role, phone=phone, name=name)
    made["login"] = account
    made["department_id"] = department_id
    made["password_hash"] = await passwords.make_hash(password)
    return made


async def change_password(ctx: "Context", *, caller: Caller, current: str, password: str) -> LoggedIn:
    """Put a new password in the place of the caller's; every session ends and a new one begins with the answer.

    A wrong `current` counts like a wrong login: `bad_credentials`, then `locked`. `Invalid` for a password staff may
    not have, or the same again; `conflict` when it was changed at the same moment.
    """
    account = await _own(ctx, caller)
    login = account["login"] or ""
    rules.require_password(password, login)
    if password == current:
        raise Invalid.field("password", "新密码不能与原密码相同")
    taken = await tries.take(ctx, account)
    if not await passwords.is_right(current, account["password_hash"]):
        await tries.note_wrong(ctx, account, taken)
        raise Unauthenticated(code="bad_credentials")
    await tries.give_back(ctx, account, taken)
    if not await ctx.accounts.change_password(account, await passwords.make_hash(password), ctx.clock.now()):
        raise Conflict
    await audit.append(ctx, caller.actor, "account.change_password", subject=f"account:{caller.id}")
    changed = await _own(ctx, caller)
    await sessions.tell_called_back(ctx, changed)
    return await sessions.start(ctx, changed, "password")


async def disable(ctx: "Context", account_id: str) -> None:
    """Shut an account: every session ends at once and none begins; `NotFound` when there is none."""
    await sessions.end_all(ctx, account_id, status="disabled")


async def enable(ctx: "Context", account_id: str) -> None:
    """Let a disabled account log in again; `NotFound` when there is none."""
    await sessions.end_all(ctx, account_id, status="active")


async def _own(ctx: "Context", caller: Caller) -> Account:
    account = await ctx.accounts.get(caller.id)
    if account is None:
        raise Unauthenticated
    return account


def _draft(ctx: "Context", *, id_: str, audience: Audience, role: str, phone: str, name: str | None) -> Account:
    now = ctx.clock.now()
    return {
        "_id": id_,
        "audience": audience,
        "role": role,
        "status": "active",
        "phone": ctx.cipher.seal(phone, field=rules.PHONE_FIELD),
        "phone_index": ctx.cipher.blind(phone, field=rules.PHONE_FIELD),
        "name": None if name is None else ctx.cipher.seal(name, field=rules.NAME_FIELD),
        "login": None,
        "password_hash": None,
        "department_id": None,
        "epoch": 0,
        "wrong_tries": 0,
        "locked_until": None,
        "second_factor": None,
        "created_at": now,
        "updated_at": now,
    }
