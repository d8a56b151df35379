"""Catching up: pages, marks, and no gap between what was read and what is pushed."""

import asyncio
import random

import pytest
from pymongo.errors import AutoReconnect

from im.frames import FRAME_BYTES, reply
from storage.messages import MessageRepository
from tests.im.house import Refused, add_visit, move_visit

pytestmark = pytest.mark.gen_test(timeout=30)


async def caught_up(line, visit, cursor=0, limit=50):
    """What a client gathers from sync alone: (messages, marks, status, pages)."""
    messages, pages = [], 0
    while True:
        answer = await line.request("sync", cursors={visit.id: cursor}, limit=limit)
        page = answer["conversations"][0]
        messages += page["messages"]
        pages += 1
        if not page["more"]:
            assert not answer["more"]
            return messages, page["read"], page["visit"]["status"], pages
        cursor = page["messages"][-1]["seq"]


async def test_pages_follow_each_other_without_gap(server, visit):
    line = await server.line(visit.patient)
    for start in range(0, 120, 60):
        await line.batch(
            *(
                line.ask("message.send", conversation=visit.id, kind="text", body={"text": str(number)})
                for number in range(start, start + 60)
            )
        )
    messages, read, status, pages = await caught_up(line, visit, limit=50)
    assert [message["seq"] for message in messages] == list(range(1, 121))
    assert (read, status, pages) == ({}, "in_progress", 3)


async def test_a_page_ends_where_the_frame_is_full(server, visit):
    line = await server.line(visit.patient)
    for _ in range(2):
        await line.batch(
            *(
                line.ask("message.send", conversation=visit.id, kind="text", body={"text": "汉" * 2_000})
                for _ in range(9)
            )
        )
    page = await line.request("sync", cursors={visit.id: 0}, limit=200)
    assert page["more"]
    assert len(reply("r" * 64, page)) <= FRAME_BYTES
    messages, _, _, pages = await caught_up(line, visit, limit=200)
    assert ([message["seq"] for message in messages], pages) == (list(range(1, 19)), 2)


async def test_no_cursors_list_all_open_conversations_from_the_beginning(server, indexed, visit):
    open_too = await add_visit(indexed, "waiting", doctor=visit.doctor)
    await add_visit(indexed, "cancelled", doctor=visit.doctor)
    doctor = await server.line(visit.doctor, "doctor")
    await doctor.say(visit, "您好")
    pages = (await doctor.request("sync", cursors=None))["conversations"]
    assert {page["id"]: (page["visit"], page["last_seq"], len(page["messages"]), page["call"]) for page in pages} == {
        visit.id: ({"id": visit.id, "status": "in_progress"}, 1, 1, None),
        open_too.id: ({"id": open_too.id, "status": "waiting"}, 0, 0, None),
    }


async def test_a_live_call_is_shown_in_its_conversation(server, indexed, visit):
    other = await add_visit(indexed, doctor=visit.doctor)
    call = {"id": "c1", "conversation": visit.id, "state": "ringing"}
    server.ctx.live_calls.call = call
    doctor = await server.line(visit.doctor, "doctor")
    pages = (await doctor.request("sync", cursors=None))["conversations"]
    assert {page["id"]: page["call"] for page in pages} == {visit.id: call, other.id: None}


async def test_a_visit_that_has_ended_can_still_be_caught_up_with(server, visit):
    line = await server.line(visit.patient)
    await line.say(visit, "一")
    await move_visit(server, visit, "completed")
    messages, _, status, _ = await caught_up(line, visit)
    assert ([message["seq"] for message in messages], status) == ([1], "completed")


async def test_a_cursor_at_or_beyond_the_end_finds_nothing_more(server, visit):
    line = await server.line(visit.patient)
    await line.say(visit, "一")
    for cursor in (1, 99):
        page = (await line.request("sync", cursors={visit.id: cursor}))["conversations"][0]
        assert (page["messages"], page["more"], page["last_seq"]) == ([], False, 1)


class Gated(MessageRepository):
    """Reads of a range wait, once they have been made, until the test lets them go."""

    def __init__(self, store):
        super().__init__(store)
        self.reached, self.gate = asyncio.Event(), asyncio.Event()

    async def between(self, conversation, after, last):
        found = await super().between(conversation, after, last)
        self.reached.set()
        await self.gate.wait()
        return found


async def test_a_message_stored_while_a_sync_reads_is_pushed_after_its_answer_and_once(start, indexed, visit):
    messages = Gated(indexed)
    server = await start(messages=messages)
    patient, doctor = await server.line(visit.patient), await server.line(visit.doctor, "doctor")
    await patient.say(visit, "一")
    await doctor.event("message.created", seq=1)
    frame, answer = doctor.ask("sync", cursors={visit.id: 0})
    await doctor.write(frame)
    await messages.reached.wait()
    await patient.say(visit, "二")
    assert list(await doctor.request("ping")) == ["server_time"]
    assert doctor.said(visit) == [(1, {"text": "一"})]
    messages.gate.set()
    page = (await doctor.answer(answer))["conversations"][0]
    await doctor.event("message.created", seq=2)
    assert [message["seq"] for message in page["messages"]] == [1]
    assert doctor.said(visit) == [(1, {"text": "一"}), (2, {"text": "二"})]
    order = [one.get("re") or one["data"].get("seq") for frame in doctor.frames for one in flat(frame)]
    assert order.index(frame["id"]) < order.index(2)


def flat(frame):
    return frame if isinstance(frame, list) else [frame]


async def test_a_message_that_the_answer_shows_is_not_pushed_again(start, indexed, visit):
    class Late(MessageRepository):
        def __init__(self, store):
            super().__init__(store)
            self.gate, self.reached = asyncio.Event(), asyncio.Event()

        async def between(self, conversation, after, last):
            self.reached.set()
            await self.gate.wait()
            return await super().between(conversation, after, last)

    messages = Late(indexed)
    server = await start(messages=messages)
    patient, doctor = await server.line(visit.patient), await server.line(visit.doctor, "doctor")
    frame, answer = doctor.ask("sync", cursors={visit.id: 0})
    await doctor.write(frame)
    await messages.reached.wait()
    await patient.say(visit, "一")
    messages.gate.set()
    page = (await doctor.answer(answer))["conversations"][0]
    await doctor.request("ping")
    assert [message["seq"] for message in page["messages"]] == [1]
    assert doctor.said(visit) == []


async def test_what_a_client_knew_and_was_told_is_what_it_would_fetch_afresh(start, indexed):
    """State before + events == state fetched afresh, for both members, on two processes, whatever they do."""
    first, second = await start(), await start()
    visit = await add_visit(indexed)
    lines = [await first.line(visit.patient), await second.line(visit.doctor, "doctor")]
    await lines[0].say(visit, "从前")
    before = [await caught_up(line, visit) for line in lines]
    for line in lines:
        await line.event("message.created", seq=1) if line.events else None
        line.events.clear()
    chance, last = random.Random(3), 1
    for number in range(40):
        line = chance.choice(lines)
        act = chance.choice(["say", "say", "say", "recall", "read", "card"])
        if act == "say":
            last = (await line.say(visit, str(number)))["seq"]
        elif act == "read":
            await line.request("message.read", conversation=visit.id, seq=chance.randint(1, last))
        elif act == "card":
            place = await first.journal.append(visit.id, kind="card", body={"n": number}, cause=f"card:{number}")
            last = place.seq
        else:
            own = (await line.say(visit, "写错了"))["seq"]
            last = (await line.request("message.recall", conversation=visit.id, seq=own))["seq"]
    marker = await first.journal.append(visit.id, kind="system", body={"end": True}, cause="end")
    for process in (first, second):
        await process.journal.marks.write()
    for line, known in zip(lines, before, strict=True):
        await line.event("message.created", seq=marker.seq)
        await line.request("ping")
        fresh = await caught_up(line, visit)
        assert applied(known, line.events) == (by_seq(fresh[0]), fresh[1])


def by_seq(messages):
    return {message["seq"]: message for message in messages}


def applied(known, events):
    """What a client makes of what it knew and was told."""
    messages, read = by_seq(known[0]), dict(known[1])
    for one in events:
        data = one["data"]
        if one["ev"] == "message.created":
            messages[data["seq"]] = data
        elif one["ev"] == "message.read":
            read[data["account"]] = max(data["seq"], read.get(data["account"], 0))
    for message in list(messages.values()):
        recalled = (message["body"] or {}).get("recalls")
        if recalled is not None:
            messages[recalled] = messages[recalled] | {"body": None, "recalled": True}
    return messages, read


async def test_a_client_that_was_cut_off_again_and_again_has_everything_by_sync_alone(start, indexed):
    first, second = await start(), await start()
    visit = await add_visit(indexed)
    doctor = await second.line(visit.doctor, "doctor")
    acked = {}
    for turn in range(6):
        process = (first, second)[turn % 2]
        line = await process.line(visit.patient)
        for number in range(5):
            request = f"t{turn}-{number}"
            acked[request] = (await line.say(visit, request, request))["seq"]
        unsure = line.ask("message.send", f"u{turn}", conversation=visit.id, kind="text", body={"text": f"u{turn}"})
        await line.write(unsure[0])
        await line.close()
        again = await first.line(visit.patient)
        acked[f"u{turn}"] = (await again.say(visit, f"u{turn}", f"u{turn}"))["seq"]
        await again.close()
    messages, *_ = await caught_up(doctor, visit)
    assert [message["seq"] for message in messages] == list(range(1, 37))
    assert {message["body"]["text"]: message["seq"] for message in messages} == acked


# --- the audit trail


async def trail_of(store, account):
    entries = await store.db["audit_entries"].find({"actor": account}).to_list(None)
    return [(one["role"], one["act"], one["subject"], one["address"]) for one in entries]


async def test_each_conversation_of_which_messages_are_shown_is_in_the_trail_in_one_write(
    server, indexed, visit, monkeypatch
):
    silent = await add_visit(indexed, doctor=visit.doctor)
    spoken = await add_visit(indexed, doctor=visit.doctor)
    doctor = await server.line(visit.doctor, "doctor")
    for one in (visit, spoken):
        await doctor.say(one, "您好")
    writes = []
    write = server.ctx.audit.add

    async def counted(entries):
        writes.append(len(entries))
        await write(entries)

    monkeypatch.setattr(server.ctx.audit, "add", counted)
    await doctor.request("sync", cursors=None)
    await doctor.request("sync", cursors={silent.id: 0, visit.id: 1})
    assert writes == [2]
    assert sorted(await trail_of(indexed, visit.doctor)) == sorted(
        ("doctor", "visit.messages", f"visit:{one.id}", "127.0.0.1") for one in (visit, spoken)
    )


async def test_nothing_is_shown_when_the_trail_is_away_and_the_socket_stays(server, visit, monkeypatch):
    line = await server.line(visit.patient)
    await line.say(visit, "一")

    async def away(entries):
        raise AutoReconnect("away")

    with monkeypatch.context() as broken:
        broken.setattr(server.ctx.audit, "add", away)
        with pytest.raises(Refused) as refused:
            await line.request("sync", cursors=None)
    assert refused.value.code == "unavailable"
    assert len((await line.request("sync", cursors=None))["conversations"][0]["messages"]) == 1


async def test_what_is_pushed_to_those_who_take_part_writes_nothing(server, indexed, visit):
    line = await server.line(visit.patient)
    await line.say(visit, "一")
    await line.event("message.created", seq=1)
    assert await trail_of(indexed, visit.patient) == []
