"""`scripts/audit verify` checks the whole audit trail, `scripts/audit export` writes a period of it into a file.

Both need the database alone: of the environment, or of the folder of a running `scripts/server`.

- `verify [--known NUMBER:HASH] [--unsealed-within SECONDS]` prints one line for everything that is not as it was sealed
  and for every entry that waits longer than it may, and ends with 1 then. `--known` is the end of the chain as it was
  noted before, in the logs (`audit.sealed`) or by the auditor: it finds a chain that was rewritten as a whole.
- `export --from TIME --to TIME --out FILE` writes one entry a line as JSON, oldest first, times RFC 3339. That it was
  done is in the trail, too.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TextIO

from app.settings import BadSettings, Settings
from core.audit import Act, entry_of
from core.auditing.chain import Chain
from core.auditing.rules import Finding
from core.auditing.service import SEALED_WITHIN, lines
from core.auth import Actor
from core.errors import AWAY
from core.ids import SystemClock
from scripts.seed import settings_of
from storage.audit import AuditBlockRepository, AuditEntryRepository
from storage.mongo import Store

# Whoever may open the database: the machine's own accounts are none of ours.
OPERATOR: Final = Actor("operator", "operator")
UNSEALED_LISTED: Final = 1_000


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[AuditBlockRepository, AuditEntryRepository]]:
    """The trail in the database of these settings."""
    store = await Store.open(settings.mongo_uri, settings.mongo_database, driver=settings.mongo_driver)  # type: ignore[arg-type]  # checked by app.settings
    try:
        yield AuditBlockRepository(store), AuditEntryRepository(store)
    finally:
        await store.close()


async def verify(settings: Settings, out: TextIO, *, known: tuple[int, str] | None, within: timedelta) -> int:
    """Write a line for each finding and one that sums up; how many findings there were."""
    async with opened(settings) as (blocks, entries):
        chain, count = Chain(blocks, entries), 0
        end = await chain.end()
        async for _, faults in chain.faults(0, end):
            count += _tell(faults, out)
        count += _tell(await chain.loose_ends(end), out)
        count += _tell(await chain.overdue(SystemClock().now() - within, UNSEALED_LISTED), out)
        if known is not None:
            block = await blocks.get(known[0])
            if block is None or block["hash"] != known[1]:
                count += _tell([Finding("head_differs", known[0])], out)
        head = await blocks.head()
        waiting = await entries.count_unsealed(UNSEALED_LISTED)
    out.write(f"{end} blocks, {waiting} entries not sealed yet, {count} findings; {head['number']}:{head['hash']}\n")
    return count


def _tell(faults: Sequence[Finding], out: TextIO) -> int:
    for fault in faults:
        where = " ".join(
            part for part in (fault.block and f"block {fault.block}", fault.entry and f"entry {fault.entry}") if part
        )
        out.write(f"{fault.kind} {where} {fault.title}\n")
    return len(faults)


async def export(settings: Settings, out: TextIO, *, since: datetime, until: datetime) -> int:
    """Write the entries of the period, once the trail has it; how many there are."""
    async with opened(settings) as (_, entries):
        act = Act(OPERATOR, "audit.export")
        await entries.add([entry_of(act, SystemClock().now(), None, settings.policy.retain_audit_years)])
        count = 0
        async for batch in entries.between(since, until):
            out.write(lines(batch))
            count += len(batch)
    return count


def private(file: Path) -> TextIO:
    """A new file in the place of any that was there, readable by its owner alone."""
    file.unlink(missing_ok=True)
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")


def moment(said: str) -> datetime:
    """RFC 3339 with its offset; ValueError otherwise."""
    found = datetime.fromisoformat(said)
    if found.tzinfo is None:
        raise ValueError("a time needs its offset")
    return found.astimezone(UTC)


def noted(said: str) -> tuple[int, str]:
    """`NUMBER:HASH`, as `verify` prints it; ValueError otherwise."""
    number, _, hash_ = said.partition(":")
    return int(number), hash_


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parsed = argparse.ArgumentParser(prog="scripts/audit", description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parsed.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("verify", help="check the whole chain")
    checking.add_argument("--known", type=noted, metavar="NUMBER:HASH", help="the end of the chain as noted before")
    within = int(SEALED_WITHIN.total_seconds())
    checking.add_argument("--unsealed-within", type=int, default=within, metavar="SECONDS")
    writing = commands.add_parser("export", help="a period as a file")
    writing.add_argument("--from", dest="since", type=moment, required=True, metavar="TIME")
    writing.add_argument("--to", dest="until", type=moment, required=True, metavar="TIME")
    writing.add_argument("--out", type=Path, required=True)
    for one in (checking, writing):
        one.add_argument("--data-dir", type=Path, default=Path("var"), help="of the running scripts/server")
    return parsed


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0, 1 for findings or a store that is away, 2 for settings and arguments."""
    options = parser().parse_args(arguments)
    try:
        settings = settings_of(options.data_dir)
        if options.command == "export":
            with private(options.out) as out:
                count = asyncio.run(export(settings, out, since=options.since, until=options.until))
            print(f"{count} entries in {options.out}")
            return 0
        within = timedelta(seconds=options.unsealed_within)
        return 1 if asyncio.run(verify(settings, sys.stdout, known=options.known, within=within)) else 0
    except BadSettings as error:
        print(f"audit: {error}; start scripts/server first, or set the environment", file=sys.stderr)
        return 2
    except AWAY as error:
        print(f"audit: the database cannot be reached: {type(error).__name__}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
