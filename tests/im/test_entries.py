"""Keys, seals and views of messages."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from im.entries import Entry, ack, document, is_same_said, key_of, posted, public_id, read, seal, system_key
from tests.im.house import CIPHER

AT = datetime(2026, 2, 28, 1, 2, 3, 4_000, tzinfo=UTC)
ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


@given(st.tuples(ids, ids, ids, ids), st.tuples(ids, ids, ids, ids))
def test_two_messages_never_share_a_key(one, other):
    assert (key_of(*one) == key_of(*other)) == (one == other)


@given(ids, ids, ids, ids, st.from_regex(r"[A-Za-z0-9_:.-]{1,200}", fullmatch=True))
def test_what_the_hospital_says_never_has_a_persons_key(account, device, conversation, request, cause):
    assert key_of(account, device, conversation, request) != system_key(conversation, cause)


@pytest.mark.parametrize("cause", ["", "a/b", "a b", "x" * 201, "a\n"])
def test_a_cause_must_be_of_its_form(cause):
    with pytest.raises(ValueError, match="a cause has"):
        system_key("c", cause)


def entry(**changes):
    body = {"text": "您好"}
    given = {"id": "a/d/c/r", "conversation": "c", "account": "a", "role": "patient", "kind": "text", "body": body}
    return Entry(**given | {"sealed": seal(CIPHER, body), "to": [], "future": None, "queued_at": 0} | changes)


@pytest.mark.rule("R5-2")
@pytest.mark.rule("R6-5")
def test_a_message_is_stored_sealed_and_kept_as_long_as_the_rule_says():
    kept = document(entry(), 7, AT, 5)
    assert "您好" not in str(kept)
    assert kept["retain_until"] >= AT.replace(year=2031)
    assert read(CIPHER, kept) == {
        "conversation": "c",
        "seq": 7,
        "id": public_id("a/d/c/r"),
        "from": {"account": "a", "role": "patient"},
        "kind": "text",
        "body": {"text": "您好"},
        "at": "2026-02-28T01:02:03.004Z",
    }


def test_a_recalled_message_shows_no_body():
    kept = document(entry(), 7, AT, 5) | {"recalled_at": AT}
    assert (read(CIPHER, kept)["body"], read(CIPHER, kept)["recalled"]) == (None, True)


def test_the_public_id_tells_neither_account_nor_device():
    assert public_id("account/device/c/r") == public_id("account/device/c/r")
    assert not {"account", "device"} & set(public_id("account/device/c/r").split("/"))


def test_a_repeat_must_say_the_same():
    kept = document(entry(), 7, AT, 5)
    assert is_same_said(kept, "text", {"text": "您好"}, CIPHER)
    assert not is_same_said(kept, "text", {"text": "再见"}, CIPHER)
    assert not is_same_said(kept, "emoji", {"text": "您好"}, CIPHER)
    assert is_same_said(kept | {"account": "system"}, "card", {}, CIPHER)


def test_an_ack_differs_from_its_repeat_in_dup_alone():
    kept = document(entry(), 7, AT, 5)
    assert ack(posted(kept, dup=True)) == ack(posted(kept, dup=False)) | {"dup": True}
