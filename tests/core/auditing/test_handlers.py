import json
from datetime import timedelta

import httpx
import pytest
from pymongo.errors import AutoReconnect

from core.auditing import sealing
from core.wire import rfc3339
from scripts.acting import Refused
from tests.core.partial import caller_of, lift

pytestmark = pytest.mark.gen_test(timeout=30)


@pytest.fixture
def auditor(trail, io_loop):
    """The auditor, who has just proven themselves again."""
    auditor = caller_of("auditor", "auditor")
    io_loop.run_sync(lambda: lift(trail.ctx, auditor))
    return trail.house.person(auditor)


def span(trail):
    now = trail.ctx.clock.now()
    return {"from": rfc3339(now - timedelta(hours=1)), "to": rfc3339(now + timedelta(hours=1))}


@pytest.mark.rule("R6-3")
async def test_only_the_auditor_reads_the_trail(trail, auditor):
    for role in ("admin", "security_admin", "doctor", "regulator"):
        for path in ("/audit", "/audit/chain", "/audit/export"):
            with pytest.raises(Refused) as refused:
                await trail.house.person(caller_of(role)).get(path)
            assert refused.value.code == "forbidden"
    assert await trail.every() == []
    assert (await auditor.get("/audit"))["items"] == []


async def test_entries_are_found_by_person_act_subject_and_time_page_by_page(trail, auditor):
    subjects = await trail.write(5)
    first = await auditor.get("/audit", actor="reader", act="visit.read", limit=3, **span(trail))
    rest = await auditor.get("/audit", actor="reader", act="visit.read", limit=3, cursor=first["next_cursor"])
    assert {one["subject"] for one in first["items"] + rest["items"]} == set(subjects)
    assert (len(first["items"]), rest["next_cursor"]) == (3, None)
    assert len((await auditor.get("/audit", subject=subjects[2]))["items"]) == 1


@pytest.mark.rule("R5-7")
async def test_reading_the_trail_is_in_the_trail(trail, auditor):
    await auditor.get("/audit")
    await auditor.get("/audit/chain")
    await auditor.send("GET", "/audit/export", params=span(trail))
    entries = await trail.every()
    assert sorted(one["act"] for one in entries) == ["audit.check", "audit.export", "audit.read"]
    assert {(one["actor"], one["role"], one["address"]) for one in entries} == {("auditor", "auditor", "127.0.0.1")}
    assert all(one["request"] for one in entries)


@pytest.mark.rule("R5-7")
async def test_the_check_of_the_chain_tells_what_was_tampered_with(trail, auditor):
    await trail.write(3)
    await sealing.seal(trail.ctx)
    whole = await auditor.get("/audit/chain")
    entry = (await trail.every())[0]
    await trail.entries.update_one({"_id": entry["_id"]}, {"$set": {"actor": "somebody"}})
    found = await auditor.get("/audit/chain")
    assert (whole["findings"], whole["checked"], whole["head"]["number"]) == ([], 1, 1)
    assert found["findings"] == [
        {"kind": "entry_altered", "title": "审计记录被改动", "block": 1, "entry": entry["_id"]}
    ]


async def test_an_export_is_a_file_of_lines(trail, auditor):
    subjects = await trail.write(3)
    answer = await auditor.send("GET", "/audit/export", params=span(trail))
    told = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert {one["subject"] for one in told} - {None} == set(subjects)
    with pytest.raises(Refused) as refused:
        await auditor.get("/audit/export")
    assert refused.value.code == "invalid"


@pytest.mark.rule("R6-4")
async def test_an_export_without_a_fresh_proof_is_refused(trail):
    with pytest.raises(Refused) as refused:
        await trail.house.person(caller_of("auditor", "other_auditor")).get("/audit/export", **span(trail))
    assert refused.value.code == "elevation_required"
    assert await trail.every() == []


async def test_an_export_that_cannot_go_on_does_not_end_as_if_it_were_whole(trail, auditor, monkeypatch):
    await trail.write(1)

    async def breaks(since, until):
        yield await trail.every()
        raise AutoReconnect("away")

    monkeypatch.setattr(trail.ctx.audit_entries, "between", breaks)
    with pytest.raises(httpx.RemoteProtocolError):
        await auditor.send("GET", "/audit/export", params=span(trail))
