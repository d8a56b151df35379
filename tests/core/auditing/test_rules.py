from datetime import UTC, datetime, timedelta

import pytest

from core.auditing import rules
from core.auditing.rules import Finding, block_hash, copied_steps, digest, entries_of, faults_of, next_block
from core.context import Context
from storage.moves import Moving
from storage.traced import Traced
from tests.storage.test_audit import an_entry

NOW = datetime(2026, 11, 2, 4, 0, tzinfo=UTC)


def step(act="accept", role="doctor", **changes):
    return {
        "at": NOW,
        "actor": "d1",
        "role": role,
        "act": act,
        "frm": "waiting",
        "to": "in_progress",
        "reason": None,
    } | changes


def subclasses(kind):
    return {kind, *(inner for one in kind.__subclasses__() for inner in subclasses(one))}


@pytest.mark.rule("R5-7")
def test_every_repository_whose_documents_change_is_copied_from():
    by_type = {annotation: name for name, annotation in Context.__annotations__.items()}
    ours = {one for one in subclasses(Traced) - {Traced, Moving} if one.__module__.startswith("storage.")}
    # Notices keep no history: they remind of the steps of a visit, which are copied from there.
    assert {by_type.get(one.__name__) for one in ours} - {"notices"} == set(rules.KINDS)


@pytest.mark.rule("R5-7")
def test_a_step_becomes_an_entry_with_actor_role_time_and_states():
    visit = {"_id": "v1", "history": [step()]}
    [entry] = entries_of("visits", visit, 3)
    assert {**entry, "_id": ""} == an_entry(
        _id="",
        act="visit.accept",
        frm="waiting",
        to="in_progress",
        retain_until=NOW.replace(year=2029),
    )


def test_the_same_step_is_the_same_entry_however_often_it_is_copied_and_another_is_another():
    visit = {"_id": "v1", "history": [step(), step()]}
    first, second = entries_of("visits", visit, 3)
    assert first["_id"] == entries_of("visits", visit, 3)[0]["_id"]
    assert len({first["_id"], second["_id"], entries_of("orders", visit, 3)[0]["_id"]}) == 3
    later = entries_of("visits", {"_id": "v2", "history": [step(at=NOW + timedelta(milliseconds=1))]}, 3)[0]
    assert later["_id"] > max(first["_id"], second["_id"])


def test_only_steps_that_were_not_copied_are_copied():
    visit = {"_id": "v1", "history": [step("create"), step("submit"), step("accept")], "audited_steps": 2}
    assert [entry["act"] for entry in entries_of("visits", visit, 3)] == ["visit.accept"]
    assert copied_steps("visits", visit) == 3


def test_words_of_people_and_values_of_fields_stay_in_the_document():
    for told in (step(reason="患者说自己胸痛"), step("refund", "system", reason="zhangsan")):
        assert entries_of("visits", {"_id": "v1", "history": [told]}, 3)[0]["reason"] is None
    named = step("change_name", role="admin", frm="张*", to="李*")
    [entry] = entries_of("accounts", {"_id": "a1", "history": [named]}, 3)
    assert (entry["act"], entry["frm"], entry["to"]) == ("account.change_name", None, None)


def test_the_systems_own_word_is_kept_as_reason():
    [entry] = entries_of("visits", {"_id": "v1", "history": [step("expire", "system", reason="timeout")]}, 3)
    assert entry["reason"] == "timeout"


@pytest.mark.parametrize(
    ("collection", "document", "told"),
    [
        ("settings_changes", {"_id": 7, "actor": "a", "role": "admin", "at": NOW}, ("settings.change", "settings:7")),
        (
            "consent_texts",
            {"_id": "notice:2", "created_by": "a", "created_at": NOW},
            ("consent_text.publish", "consent_text:notice:2"),
        ),
    ],
)
def test_what_never_changes_is_one_step_itself(collection, document, told):
    [entry] = entries_of(collection, document, 3)
    assert (entry["act"], entry["subject"]) == told
    assert (entry["actor"], entry["role"], copied_steps(collection, document)) == ("a", "admin", None)


# --- the chain


def test_a_digest_is_of_every_field_but_the_block():
    entry = an_entry(key="k")
    assert digest(entry) == digest(entry | {"block": 9})
    changed = [entry | {name: "x"} for name in entry if name != "block"]
    assert len({digest(entry), *map(digest, changed), digest(entry | {"more": 1})}) == len(entry) + 1


def test_a_digest_can_be_computed_by_anybody():
    # printf '{"_id":"1","at":"2026-11-02T04:00:00.000Z","who":"张"}' | sha256sum
    assert digest({"who": "张", "at": NOW, "_id": "1", "block": 4}) == (
        "de75cbf7e240391ae3704bd08ce393218bf581851b0b2fc011b62ea06f86b0a3"
    )


def a_chain():
    entries = [an_entry(minute, key=str(minute)) for minute in range(3)]
    first = next_block(1, "", entries, NOW)
    bearing = [entry | {"block": 1} for entry in entries]
    return first, bearing


def test_a_block_that_was_not_touched_has_no_faults():
    block, entries = a_chain()
    assert (block["count"], block["hash"]) == (3, block_hash(block))
    assert faults_of(block, "", reversed(entries)) == []


def test_each_way_of_tampering_is_told():
    block, entries = a_chain()
    ids = [entry["_id"] for entry in entries]
    assert faults_of(block, "other", entries) == [Finding("chain_broken", 1)]
    assert faults_of(block, "", entries[1:]) == [Finding("entry_missing", 1, ids[0])]
    altered = [entries[0] | {"actor": "x"}, *entries[1:]]
    assert faults_of(block, "", altered) == [Finding("entry_altered", 1, ids[0])]
    alien = an_entry(9, block=1)
    assert faults_of(block, "", [*entries, alien]) == [Finding("entry_alien", 1, alien["_id"])]
    swapped = {**block, "entries": block["entries"][::-1]}
    assert faults_of(swapped, "", entries) == [Finding("block_altered", 1)]


def test_every_finding_has_words_for_people():
    assert all(Finding(kind, 1).title for kind in rules.FINDINGS)
