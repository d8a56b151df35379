"""Sealing every field anew under the current key, while the hospital serves.

Old and new keys are both at hand meanwhile, so readers never notice. A field is exchanged only if it still holds what
was read, so what people write meanwhile wins. It can be cut off and run again: what is under the current key is left.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from storage.encryption import FieldCipher
from storage.mongo import Collection, Store

BATCH: Final = 200

# Collection → path of each sealed field → the field's name as the cipher knows it.
SEALED: Final[Mapping[str, Mapping[str, str]]] = {
    "accounts": {
        "phone": "accounts.phone",
        "name": "accounts.name",
        "second_factor.secret": "accounts.second_factor",
    },
    "patients": {
        "name": "patient.name",
        "id_number": "patient.id_number",
        "phone": "patient.phone",
        "guardian.name": "patient.guardian.name",
        "guardian.id_number": "patient.guardian.id_number",
        "guardian.phone": "patient.guardian.phone",
    },
    "visits": {
        "patient.name": "patient.name",
        "patient.guardian.name": "patient.guardian.name",
        "condition": "visit.condition",
        "advice": "visit.advice",
    },
    "messages": {"body": "message.body"},
    "idempotency": {"answer": "idempotency.answer"},
}


@dataclass(frozen=True)
class Rekeyed:
    """What one run did to a collection; `raced` fields were written by somebody else at the same moment."""

    documents: int
    fields: int
    raced: int


async def rekey(store: Store, cipher: FieldCipher, *, batch: int = BATCH) -> dict[str, Rekeyed]:
    """Seal what is stale in every collection of `SEALED`; by collection, what was done.

    Raises `storage.encryption.Unreadable` at a field whose key is not at hand: what was done until then stays done.
    """
    return {name: await _collection(store, cipher, name, fields, batch) for name, fields in SEALED.items()}


async def _collection(store: Store, cipher: FieldCipher, name: str, fields: Mapping[str, str], batch: int) -> Rekeyed:
    docs = store.db[name]
    documents = exchanged = raced = 0
    last: Any = None
    while True:
        wanted = {} if last is None else {"_id": {"$gt": last}}
        found = await docs.find(wanted, dict.fromkeys(fields, 1)).sort("_id", 1).limit(batch).to_list(None)
        for document in found:
            stale, written = await exchange(docs, cipher, document, fields)
            documents, exchanged, raced = documents + 1, exchanged + written, raced + stale - written
        if len(found) < batch:
            return Rekeyed(documents, exchanged, raced)
        last = found[-1]["_id"]


async def exchange(
    docs: Collection, cipher: FieldCipher, document: Mapping[str, Any], fields: Mapping[str, str]
) -> tuple[int, int]:
    """How many fields of a document, as read, are stale, and how many were exchanged: what was written since wins."""
    stale = written = 0
    for path, sealed in stale_fields(cipher, document, fields):
        anew = cipher.seal(cipher.open(sealed, field=fields[path]), field=fields[path])
        done = await docs.update_one({"_id": document["_id"], path: sealed}, {"$set": {path: anew}})
        stale, written = stale + 1, written + done.matched_count
    return stale, written


def stale_fields(
    cipher: FieldCipher, document: Mapping[str, Any], fields: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Path and content of each sealed field that is not under the current key."""
    for path in fields:
        value: Any = document
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, str) and cipher.stale(value):
            yield path, value
