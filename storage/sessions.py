"""The `sessions` collection: one login on one device, and the family of refresh tokens that came from it."""

from datetime import datetime
from typing import Literal, TypedDict, cast

from storage.mongo import Store

Ending = Literal["logout", "reused", "refused", "revoked"]


class Session(TypedDict):
    """Only the digest of the newest refresh token is kept; older ones prove themselves by their signature.

    `epoch` is the account's at login: a session below its account's epoch has ended. `expires_at` moves with every
    refresh and removes the document (TTL index).
    """

    _id: str
    account_id: str
    method: str
    epoch: int
    generation: int
    token_digest: str
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    ending: Ending | None


class SessionRepository:
    """Index: (account_id, _id). Not a legal record: gone when its last token has expired."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["sessions"]

    async def add(self, session: Session) -> None:
        """Store a new session."""
        await self._docs.insert_one(dict(session))

    async def get(self, id_: str) -> Session | None:
        """The session, revoked ones too."""
        return cast("Session | None", await self._docs.find_one({"_id": id_}))

    async def of_account(self, account_id: str) -> list[Session]:
        """All sessions of an account that have not expired."""
        return cast("list[Session]", await self._docs.find({"account_id": account_id}).to_list(None))

    async def rotate(self, seen: Session, *, token_digest: str, now: datetime, expires_at: datetime) -> bool:
        """Put the next refresh token in the place of the one seen; False: it was used or revoked meanwhile."""
        rotated = await self._docs.update_one(
            {"_id": seen["_id"], "token_digest": seen["token_digest"], "revoked_at": None},
            {
                "$set": {
                    "token_digest": token_digest,
                    "generation": seen["generation"] + 1,
                    "refreshed_at": now,
                    "expires_at": expires_at,
                }
            },
        )
        return bool(rotated.matched_count)

    async def revoke(self, id_: str, ending: Ending, now: datetime) -> bool:
        """End the session for good; False: it had ended before, for the reason it keeps."""
        revoked = await self._docs.update_one(
            {"_id": id_, "revoked_at": None}, {"$set": {"revoked_at": now, "ending": ending}}
        )
        return bool(revoked.matched_count)
