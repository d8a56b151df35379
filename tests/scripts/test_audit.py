import asyncio
import io
import json
import stat
from datetime import UTC, datetime, timedelta

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from app.settings import BadSettings
from core.audit import Act, entry_of
from core.auditing import rules
from core.auth import Actor
from scripts import audit
from storage.audit import AuditBlockRepository, AuditEntryRepository
from storage.indexes import ensure_indexes
from tests.hospital import VENDORS, settings_for

NOW = datetime(2026, 11, 2, 4, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings(mongo_uri, database, tmp_path):
    return settings_for(mongo_uri, "redis://127.0.0.1:1", database, tmp_path, dict.fromkeys(VENDORS, "http://x"))


@pytest.fixture
def sealed(io_loop, store):
    """A trail of two blocks, and its database."""

    async def begin():
        await ensure_indexes(store)
        entries, blocks = AuditEntryRepository(store), AuditBlockRepository(store)
        for name in ("audit_entries", "audit_blocks", "audit_sealer"):
            await store.db[name].delete_many({})
        await blocks.take("p", now=NOW, until=NOW)
        previous = ""
        for number in (1, 2):
            made = [entry_of(Act(Actor("d1", "doctor"), "visit.read", f"visit:{n}"), NOW, None, 3) for n in range(3)]
            await entries.add(made)
            block = rules.next_block(number, previous, made, NOW)
            assert await blocks.add(block)
            await entries.seal([one["_id"] for one in made], number)
            await blocks.finish(number, block["hash"])
            previous = block["hash"]

    io_loop.run_sync(begin)
    return store.db


async def checked(settings, known=None):
    out = io.StringIO()
    count = await audit.verify(settings, out, known=known, within=MINUTE)
    lines = out.getvalue().splitlines()
    return count, lines[:-1], lines[-1]


@pytest.mark.rule("R5-7")
@pytest.mark.gen_test
async def test_a_trail_that_nobody_touched_has_no_findings_and_its_end_is_printed(settings, sealed):
    last = (await sealed["audit_blocks"].find_one({"_id": 2}))["hash"]
    assert await checked(settings) == (0, [], f"2 blocks, 0 entries not sealed yet, 0 findings; 2:{last}")
    assert await checked(settings, known=(2, last)) == await checked(settings)


@pytest.mark.rule("R5-7")
@pytest.mark.gen_test
async def test_altered_removed_added_and_unsealed_entries_are_a_line_each(settings, sealed):
    docs = sealed["audit_entries"]
    ids = [one["_id"] for one in await docs.find({"block": 1}).to_list(None)]
    added = await docs.find_one({"_id": ids[2]}) | {"_id": "added"}
    late = entry_of(Act(Actor("d1", "doctor"), "visit.read"), NOW, None, 3)
    await docs.update_one({"_id": ids[0]}, {"$set": {"actor": "somebody"}})
    await docs.delete_one({"_id": ids[1]})
    await docs.insert_many([added, late])
    count, lines, _ = await checked(settings)
    assert (count, sorted(lines)) == (
        4,
        [
            "entry_alien block 1 entry added 审计记录未经封存而混入区块",
            f"entry_altered block 1 entry {ids[0]} 审计记录被改动",
            f"entry_missing block 1 entry {ids[1]} 审计记录缺失",
            f"entry_unsealed entry {late['_id']} 审计记录超时未封存",
        ],
    )


@pytest.mark.gen_test
async def test_a_chain_written_anew_as_a_whole_is_found_by_what_was_noted_before(settings, sealed):
    noted = (await sealed["audit_blocks"].find_one({"_id": 2}))["hash"]
    previous = ""
    for number in (1, 2):
        block = await sealed["audit_blocks"].find_one({"_id": number})
        block |= {"previous": previous, "sealed_at": NOW + MINUTE}
        previous = block["hash"] = rules.block_hash(block)
        await sealed["audit_blocks"].replace_one({"_id": number}, block)
    await sealed["audit_sealer"].update_one({}, {"$set": {"hash": previous}})
    assert (await checked(settings))[0] == 0
    assert (await checked(settings, known=(2, noted)))[:2] == (
        1,
        ["head_differs block 2 最后一个区块与封存记录不一致"],
    )


@pytest.mark.gen_test
async def test_an_export_is_a_line_an_entry_and_is_in_the_trail(settings, sealed):
    out = io.StringIO()
    count = await audit.export(settings, out, since=NOW, until=NOW + MINUTE)
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (count, len(told), {one["block"] for one in told}) == (6, 6, {1, 2})
    noted = await sealed["audit_entries"].find_one({"act": "audit.export"})
    assert (noted["actor"], noted["block"]) == ("operator", 0)


# --- the command


def run(monkeypatch, settings, *arguments):
    monkeypatch.setattr(audit, "settings_of", lambda data_dir: settings)
    return audit.main(arguments)


@pytest.mark.parametrize(("findings", "status"), [(0, 0), (3, 1)])
def test_findings_make_the_exit_status(monkeypatch, settings, findings, status):
    monkeypatch.setattr(audit, "verify", lambda *given, **named: (given, named))
    monkeypatch.setattr(asyncio, "run", lambda asked: findings)
    assert run(monkeypatch, settings, "verify", "--known", "3:abc") == status


def test_the_file_is_its_owners_alone(monkeypatch, settings, tmp_path, capsys):
    out = tmp_path / "audit.ndjson"
    out.write_text("an older one")
    monkeypatch.setattr(audit, "export", lambda settings, file, **named: file.write(f"{named['since']:%H}\n"))
    monkeypatch.setattr(asyncio, "run", lambda written: written)
    span = ["--from", "2026-11-02T12:00:00+08:00", "--to", "2026-11-03T00:00:00Z"]
    assert run(monkeypatch, settings, "export", *span, "--out", str(out)) == 0
    assert (out.read_text(), stat.S_IMODE(out.stat().st_mode)) == ("04\n", 0o600)
    assert capsys.readouterr().out == f"3 entries in {out}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["verify", "--known", "x"],
        ["export", "--from", "2026-11-02T12:00:00", "--to", "2026-11-03T00:00:00Z", "--out", "x"],
        ["export", "--out", "x"],
    ],
)
def test_what_cannot_be_understood_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        audit.main(arguments)
    assert ended.value.code == 2


def test_without_settings_it_is_one_line_and_2(monkeypatch, capsys):
    def refuse(data_dir):
        raise BadSettings("MONGO_URI is missing")

    monkeypatch.setattr(audit, "settings_of", refuse)
    assert audit.main(["verify"]) == 2
    assert "MONGO_URI is missing" in capsys.readouterr().err


def test_a_database_that_is_away_is_one_line_and_1(monkeypatch, settings, capsys):
    def away(asked):
        asked.close()
        raise ServerSelectionTimeoutError("mongo:27017")

    monkeypatch.setattr(asyncio, "run", away)
    assert run(monkeypatch, settings, "verify") == 1
    assert capsys.readouterr().err == "audit: the database cannot be reached: ServerSelectionTimeoutError\n"
