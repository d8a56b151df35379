"""The `accounts` collection: who may log in. A phone has at most one account of each audience."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NotRequired, TypedDict, cast

from storage.mongo import DuplicateKey, Store
from storage.moves import HistoryEntry
from storage.traced import UNTRACED, Traced, owed, owing

Audience = Literal["patient", "staff"]
Status = Literal["active", "disabled"]


class SecondFactor(TypedDict):
    """A time-based code (RFC 6238): the sealed secret, and the last time step whose code was used."""

    secret: str
    last_step: int


class Account(TypedDict):
    """`phone` and `name` are sealed, `phone_index` is the blind index; patients have no `login` and no password.

    `epoch` counts the times when all tokens were called back; `wrong_tries` the wrong passwords and second-factor codes
    since the last right one, and `locked_until` is when the next may be tried after too many. A password somebody else
    knows (the office made it) holds until `password_expires_at` only. `history` is what the office did to the account.
    """

    _id: str
    audience: Audience
    role: str
    status: Status
    phone: str
    phone_index: str
    name: str | None
    login: str | None
    password_hash: str | None
    openid: NotRequired[str]
    department_id: str | None
    epoch: int
    wrong_tries: int
    locked_until: datetime | None
    password_expires_at: NotRequired[datetime | None]
    second_factor: SecondFactor | None
    history: NotRequired[list[HistoryEntry]]
    created_at: datetime
    updated_at: datetime


class AccountRepository(Traced):
    """Unique: (audience, phone_index), (audience, login), (audience, openid). Index: (audience, _id)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        super().__init__(store.db["accounts"])

    async def add(self, account: Account) -> None:
        """Store a new account; `DuplicateKey` when its id, phone, login or openid is taken."""
        await self._docs.insert_one(owed(account))

    async def get(self, id_: str) -> Account | None:
        """The account, disabled ones too."""
        return cast("Account | None", await self._docs.find_one({"_id": id_}, UNTRACED))

    async def by_phone(self, audience: Audience, phone_index: str) -> Account | None:
        """The account of that phone's blind index."""
        found = await self._docs.find_one({"audience": audience, "phone_index": phone_index})
        return cast("Account | None", found)

    async def by_login(self, login: str) -> Account | None:
        """The staff account of that name."""
        return cast("Account | None", await self._docs.find_one({"audience": "staff", "login": login}))

    async def staff(self, *, role: str | None, status: Status | None, before: str | None, limit: int) -> list[Account]:
        """Staff accounts, newest first below `before`, at most `limit`."""
        prefix: dict[str, Any] = {"audience": "staff"}
        if before is not None:
            prefix["_id"] = {"$lt": before}
        wanted = {name: value for name, value in (("role", role), ("status", status)) if value is not None}
        stages: list[dict[str, Any]] = [{"$match": prefix}, {"$sort": {"_id": -1}}]
        if wanted:
            stages.append({"$match": wanted})
        return cast("list[Account]", await self._store.aggregate(self._docs, [*stages, {"$limit": limit}]))

    async def alter(
        self,
        seen: Account,
        values: Mapping[str, Any],
        *,
        entries: Sequence[HistoryEntry],
        call_back: bool,
        at: datetime,
    ) -> bool:
        """Write what the office changed if role, status, phone and epoch are still as seen; False: they are not.

        `call_back` also raises the epoch, which ends every session. `DuplicateKey` when the phone is another's.
        """
        update: dict[str, Any] = {
            "$set": {**values, "updated_at": at},
            "$push": {"history": {"$each": list(entries)}},
            **owing(at),
        }
        if call_back:
            update["$inc"] = {"epoch": 1}
        as_seen = {name: seen[name] for name in ("_id", "role", "status", "phone_index", "epoch")}
        return bool((await self._docs.update_one(as_seen, update)).matched_count)

    async def bind_openid(self, id_: str, audience: Audience, openid: str, now: datetime) -> bool:
        """Make the openid this account's, taking it from whoever had it; False: another bound it at the same moment."""
        await self._docs.update_one({"audience": audience, "openid": openid}, {"$unset": {"openid": ""}})
        try:
            await self._docs.update_one({"_id": id_}, {"$set": {"openid": openid, "updated_at": now}})
        except DuplicateKey:
            return False
        return True

    async def set_name(self, id_: str, sealed: str, now: datetime) -> None:
        """Change the name, given sealed."""
        await self._docs.update_one({"_id": id_}, {"$set": {"name": sealed, "updated_at": now}})

    async def set_password_hash(self, id_: str, seen: str, password_hash: str) -> None:
        """Replace the hash of the same password by one with today's cost, unless the password was changed meanwhile."""
        await self._docs.update_one({"_id": id_, "password_hash": seen}, {"$set": {"password_hash": password_hash}})

    async def count_try(self, id_: str, *, seen: int, wrong_tries: int, locked_until: datetime | None) -> bool:
        """Change the count of wrong tries if it is still `seen`; False: another try was counted meanwhile."""
        counted = await self._docs.update_one(
            {"_id": id_, "wrong_tries": seen}, {"$set": {"wrong_tries": wrong_tries, "locked_until": locked_until}}
        )
        return bool(counted.matched_count)

    async def forget_tries(self, id_: str) -> None:
        """It was the right person: the count starts anew and a lock is lifted."""
        await self._docs.update_one({"_id": id_}, {"$set": {"wrong_tries": 0, "locked_until": None}})

    async def change_password(self, seen: Account, password_hash: str, now: datetime) -> bool:
        """Put the owner's own new password in the place of the one seen, and raise the epoch; False: it has changed."""
        changed = await self._docs.update_one(
            {"_id": seen["_id"], "password_hash": seen["password_hash"], "epoch": seen["epoch"]},
            {
                "$set": {"password_hash": password_hash, "password_expires_at": None, "updated_at": now},
                "$inc": {"epoch": 1},
            },
        )
        return bool(changed.matched_count)

    async def enrol(self, id_: str, second_factor: SecondFactor, now: datetime) -> bool:
        """Ask this account for a second factor from now on; False: it has one already, which stays."""
        enrolled = await self._docs.update_one(
            {"_id": id_, "second_factor": None}, {"$set": {"second_factor": second_factor, "updated_at": now}}
        )
        return bool(enrolled.matched_count)

    async def set_second_factor(self, id_: str, second_factor: SecondFactor | None, now: datetime) -> None:
        """Ask this account for a second factor from now on; None: no longer."""
        await self._docs.update_one({"_id": id_}, {"$set": {"second_factor": second_factor, "updated_at": now}})

    async def use_step(self, id_: str, step: int) -> bool:
        """Note that the code of this time step was used; False: it or a later one was used before."""
        used = await self._docs.update_one(
            {"_id": id_, "second_factor.last_step": {"$lt": step}}, {"$set": {"second_factor.last_step": step}}
        )
        return bool(used.matched_count)

    async def call_back(self, id_: str, status: Status | None, now: datetime) -> Account | None:
        """Raise the epoch, which ends every session, and set the status if one is given; the account as it is then."""
        values = {"updated_at": now} if status is None else {"status": status, "updated_at": now}
        await self._docs.update_one({"_id": id_}, {"$inc": {"epoch": 1}, "$set": values})
        return await self.get(id_)
