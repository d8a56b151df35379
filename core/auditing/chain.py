"""Checking the chain of the audit trail block by block, with pauses in between, for the auditor and `scripts/audit`.

It needs the two repositories and no running hospital. What it cannot see by itself is a chain that was rewritten whole:
for that, compare a hash of it with one that was noted before, in the logs (`audit.sealed`) or by the auditor.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from core.auditing import rules
from core.auditing.rules import Finding
from storage.audit import AuditBlockRepository, AuditEntryRepository, Block

# Entries of each wrong kind that are listed; there is one of them only if somebody wrote into the store by hand.
LISTED: Final = 100


class Chain:
    """The stored chain; `blocks` and `entries` are read, nothing is changed."""

    def __init__(self, blocks: AuditBlockRepository, entries: AuditEntryRepository) -> None:
        self._blocks = blocks
        self._entries = entries

    async def end(self) -> int:
        """The last number there ought to be: what the sealer finished, or a block that there is beyond."""
        return max((await self._blocks.head())["number"], await self._blocks.last_number())

    async def faults(self, after: int, until: int) -> AsyncIterator[tuple[int, list[Finding]]]:
        """Number and faults of each block above `after` up to and including `until`; none is a good sign."""
        before = await self._blocks.get(after) if after else None
        for number in range(after + 1, until + 1):
            block = await self._blocks.get(number)
            yield number, await self._faults_of(number, block, before)
            before = block

    async def _faults_of(self, number: int, block: Block | None, before: Block | None) -> list[Finding]:
        found = await self._entries.of_block(number)
        if block is None:
            return [Finding("block_missing", number)] + [
                Finding("entry_alien", number, str(entry["_id"])) for entry in found
            ]
        # Behind a block that is missing nothing can be said of the joint; the missing one is told already.
        joint = before["hash"] if before else "" if number == 1 else block["previous"]
        return rules.faults_of(block, joint, found)

    async def loose_ends(self, end: int) -> list[Finding]:
        """What is wrong behind the last block: a head that differs from it, entries with numbers that no block has."""
        faults: list[Finding] = []
        head = await self._blocks.head()
        block = await self._blocks.get(head["number"]) if head["number"] else None
        if head["number"] < end - 1 or (block is not None and block["hash"] != head["hash"]):
            faults.append(Finding("head_differs", head["number"]))
        strays = await self._entries.strays(end, LISTED)
        return faults + [Finding("entry_alien", None, str(entry["_id"])) for entry in strays]

    async def overdue(self, before: datetime, limit: int) -> list[Finding]:
        """Up to `limit` entries of acts before this moment that are still not sealed."""
        waiting = await self._entries.unsealed(limit)
        return [Finding("entry_unsealed", None, entry["_id"]) for entry in waiting if entry["at"] < before]
