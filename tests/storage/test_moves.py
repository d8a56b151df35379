import asyncio
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.indexes import MOVING, ensure_indexes
from storage.moves import Moving, Owed, duty, first_due
from tests.storage.plans import is_scan

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def entry(act="accept", at=NOW, reason=None, frm="waiting", to="open"):
    return {"at": at, "actor": "d1", "role": "doctor", "act": act, "frm": frm, "to": to, "reason": reason}


def fresh(id_, status="waiting", duties=(), deadline_at=None):
    return {
        "_id": id_,
        "status": status,
        "version": 1,
        "updated_at": NOW,
        "history": [],
        "duties": list(duties),
        "deadline_at": deadline_at,
    }


@pytest.fixture(scope="module")
def indexed(io_loop, store):
    io_loop.run_sync(lambda: ensure_indexes(store, {"things": list(MOVING)}))
    return store


@pytest.fixture
def docs(io_loop, indexed):
    io_loop.run_sync(lambda: indexed.db["things"].delete_many({}))
    return indexed.db["things"]


@pytest.fixture
def things(docs):
    return Moving(docs)


# --- moves


@pytest.mark.gen_test
async def test_status_history_and_duties_land_in_one_update(docs, things):
    await docs.insert_one(fresh("a", deadline_at=NOW) | {"draft": "x"})
    notice = duty("notice", "a", 1, NOW)
    moved = await things.move(
        "a", "waiting", "open", entry=entry(), duties=[notice], set={"doctor": "d1"}, unset=["draft"]
    )
    assert moved == {
        **fresh("a", "open"),
        "version": 2,
        "doctor": "d1",
        "history": [entry()],
        "duties": [
            {
                "kind": "notice",
                "key": "a:1:notice",
                "state": "due",
                "next_at": NOW,
                "lease": None,
                "attempts": 0,
                "error": None,
            }
        ],
    }


@pytest.mark.gen_test
async def test_move_from_another_status_changes_nothing(docs, things):
    await docs.insert_one(fresh("a", "closed", deadline_at=NOW))
    moved = await things.move("a", "waiting", "open", entry=entry(), duties=[duty("notice", "a", 1, NOW)])
    assert (moved, await things.get("a")) == (None, fresh("a", "closed", deadline_at=NOW))


@pytest.mark.gen_test
async def test_move_of_nobody_makes_nobody(things):
    assert (await things.move("none", "waiting", "open", entry=entry()), await things.get("none")) == (None, None)


@pytest.mark.gen_test
async def test_move_may_start_from_any_of_several(docs, things):
    await docs.insert_one(fresh("a", "paid"))
    assert (await things.move("a", {"waiting", "paid"}, "open", entry=entry()))["status"] == "open"
    assert await things.move("a", ["waiting", "paid"], "open", entry=entry()) is None


@pytest.mark.gen_test
async def test_move_may_ask_for_more_than_the_status(docs, things):
    await docs.insert_one(fresh("a") | {"claimed_by": "p1"})
    assert await things.move("a", "waiting", "open", entry=entry(), where={"claimed_by": "p2"}) is None
    assert (await things.move("a", "waiting", "open", entry=entry(), where={"claimed_by": "p1"}))["version"] == 2


@pytest.mark.gen_test
async def test_deadline_belongs_to_the_status(docs, things):
    await docs.insert_one(fresh("a", deadline_at=NOW))
    set_anew = await things.move("a", "waiting", "open", entry=entry(), deadline_at=NOW + MINUTE)
    assert set_anew["deadline_at"] == NOW + MINUTE
    assert (await things.note("a", entry=entry("look")))["deadline_at"] == NOW + MINUTE
    assert (await things.note("a", entry=entry("free"), deadline_at=None))["deadline_at"] is None


@pytest.mark.gen_test(timeout=20)
async def test_of_many_at_once_exactly_one_moves(docs, things):
    await docs.insert_one(fresh("a"))
    targets = [f"to{n}" for n in range(20)]
    moves = [
        things.move("a", "waiting", to, entry=entry(to=to), duties=[duty("notice", "a", 1, NOW)]) for to in targets
    ]
    won = [moved for moved in await asyncio.gather(*moves) if moved]
    kept = await things.get("a")
    assert won == [kept]
    assert (kept["version"], len(kept["duties"]), [one["to"] for one in kept["history"]]) == (2, 1, [kept["status"]])


@pytest.mark.gen_test
async def test_note_leaves_the_status_and_counts_the_change(docs, things):
    await docs.insert_one(fresh("a"))
    noted = await things.note(
        "a", entry=entry("read", at=NOW + MINUTE), set={"read": True}, where={"status": "waiting"}
    )
    assert noted == {
        **fresh("a"),
        "version": 2,
        "read": True,
        "updated_at": NOW + MINUTE,
        "history": [entry("read", at=NOW + MINUTE)],
    }
    assert await things.note("a", set={"read": False}, where={"status": "open"}) is None
    assert await things.get("a") == noted


# --- duties


@pytest.mark.gen_test
async def test_due_are_those_whose_time_has_come(docs, things):
    await docs.insert_many(
        [
            fresh("now", duties=[duty("notice", "now", 1, NOW)]),
            fresh("later", duties=[duty("notice", "later", 1, NOW + MINUTE)]),
            fresh("none"),
        ]
    )
    assert [doc["_id"] for doc in await things.due(NOW, 10)] == ["now"]
    assert {doc["_id"] for doc in await things.due(NOW + MINUTE, 10)} == {"now", "later"}
    assert len(await things.due(NOW + MINUTE, 1)) == 1


@pytest.mark.gen_test
async def test_overdue_are_those_whose_deadline_has_come(docs, things):
    await docs.insert_many(
        [fresh("past", deadline_at=NOW), fresh("future", deadline_at=NOW + MINUTE), fresh("free", deadline_at=None)]
    )
    assert [doc["_id"] for doc in await things.overdue(NOW, 10)] == ["past"]


@pytest.mark.gen_test
async def test_of_two_workers_one_gets_the_lease(docs, things):
    await docs.insert_one(fresh("a", duties=[duty("notice", "a", 1, NOW)]))
    took = await asyncio.gather(
        *(things.lease("a", "a:1:notice", seen_next_at=NOW, token=t, until=NOW + MINUTE) for t in ("w1", "w2"))
    )
    kept = (await things.get("a"))["duties"][0]
    assert sorted(took) == [False, True]
    assert (kept["lease"], kept["next_at"], kept["attempts"]) == (["w1", "w2"][took.index(True)], NOW + MINUTE, 1)


@pytest.mark.gen_test
async def test_lease_that_ended_is_taken_over_and_its_first_holder_finishes_nothing(docs, things):
    await docs.insert_one(fresh("a", duties=[duty("notice", "a", 1, NOW)]))
    assert await things.lease("a", "a:1:notice", seen_next_at=NOW, token="w1", until=NOW + MINUTE)
    assert await things.due(NOW, 10) == []
    [again] = await things.due(NOW + MINUTE, 10)
    seen = first_due(again, NOW + MINUTE)["next_at"]
    assert await things.lease("a", "a:1:notice", seen_next_at=seen, token="w2", until=NOW + 2 * MINUTE)
    assert not await things.finish("a", "a:1:notice", "w1")
    assert not await things.postpone("a", "a:1:notice", "w1", NOW, "late")
    assert not await things.bury("a", "a:1:notice", "w1", "late")
    assert await things.finish("a", "a:1:notice", "w2")
    assert (await things.get("a"))["duties"] == []


@pytest.mark.gen_test
async def test_duties_of_a_document_run_in_their_order(docs, things):
    await docs.insert_one(fresh("a", duties=[duty("his", "a", 1, NOW), duty("notice", "a", 1, NOW)]))
    [doc] = await things.due(NOW, 10)
    assert first_due(doc, NOW)["kind"] == "his"
    await things.lease("a", "a:1:his", seen_next_at=NOW, token="w1", until=NOW + MINUTE)
    assert await things.due(NOW, 10) == []
    await things.finish("a", "a:1:his", "w1")
    [doc] = await things.due(NOW, 10)
    assert first_due(doc, NOW)["kind"] == "notice"


@pytest.mark.gen_test
async def test_postponed_duty_holds_the_later_ones_and_starves_no_other_document(docs, things):
    await docs.insert_one(fresh("a", duties=[duty("his", "a", 1, NOW), duty("notice", "a", 1, NOW)]))
    await things.lease("a", "a:1:his", seen_next_at=NOW, token="w1", until=NOW + MINUTE)
    assert await things.postpone("a", "a:1:his", "w1", NOW + 5 * MINUTE, "unavailable")
    assert await things.due(NOW, 10) == []
    assert await docs.count_documents({"duties.next_at": {"$lte": NOW}}) == 0
    his, notice = (await things.get("a"))["duties"]
    assert (his["next_at"], his["lease"], his["error"], his["attempts"]) == (NOW + 5 * MINUTE, None, "unavailable", 1)
    assert (notice["next_at"], notice["attempts"]) == (NOW + 5 * MINUTE, 0)
    [doc] = await things.due(NOW + 5 * MINUTE, 10)
    assert first_due(doc, NOW + 5 * MINUTE)["kind"] == "his"


@pytest.mark.gen_test
async def test_later_is_no_failure_and_takes_the_counted_attempt_back(docs, things):
    await docs.insert_one(fresh("a", duties=[duty("refund", "a", 1, NOW)]))
    for n in range(3):
        at = NOW + n * MINUTE
        assert await things.lease("a", "a:1:refund", seen_next_at=at, token="w1", until=at + MINUTE)
        assert await things.postpone("a", "a:1:refund", "w1", at + MINUTE, "", counted=False)
    [refund] = (await things.get("a"))["duties"]
    assert (refund["attempts"], refund["next_at"], refund["lease"]) == (0, NOW + 3 * MINUTE, None)
    assert not await things.postpone("a", "a:1:refund", "w1", NOW, "", counted=False)
    assert (await things.get("a"))["duties"] == [refund]


@pytest.mark.gen_test
async def test_dead_duty_waits_for_a_person_and_holds_nobody_up(docs, things):
    await docs.insert_one(fresh("a", duties=[duty("his", "a", 1, NOW), duty("notice", "a", 1, NOW)]))
    await things.lease("a", "a:1:his", seen_next_at=NOW, token="w1", until=NOW + MINUTE)
    assert await things.bury("a", "a:1:his", "w1", "rejected")
    [doc] = await things.due(NOW, 10)
    assert first_due(doc, NOW)["kind"] == "notice"
    dead = doc["duties"][0]
    assert (dead["state"], dead["next_at"], dead["lease"], dead["error"]) == ("dead", None, None, "rejected")
    assert not await things.revive("a", "a:1:notice", at=NOW)
    assert await things.revive("a", "a:1:his", at=NOW)
    revived = first_due(await things.get("a"), NOW)
    assert (revived["kind"], revived["attempts"]) == ("his", 0)


@pytest.mark.gen_test
async def test_searches_of_the_worker_use_their_indexes(indexed):
    come = {"$gt": NOW - MINUTE, "$lte": NOW}
    for query in ({"duties.next_at": come}, {"deadline_at": come}, {"duties.state": "dead"}):
        assert not await is_scan(indexed, "things", query)


@pytest.mark.gen_test
async def test_what_is_owed_is_told_by_kind_whether_it_waits_runs_or_was_given_up(docs, things):
    await docs.insert_one(fresh("a", duties=[duty("his", "a", 1, NOW), duty("notice", "a", 1, NOW + MINUTE)]))
    await docs.insert_one(fresh("b", duties=[duty("his", "b", 1, NOW - MINUTE)]))
    await docs.insert_one(fresh("c"))
    assert await things.owed() == [Owed("his", 2, NOW - MINUTE, 0), Owed("notice", 1, NOW + MINUTE, 0)]
    await things.lease("b", "b:1:his", seen_next_at=NOW - MINUTE, token="w1", until=NOW + MINUTE)
    assert (await things.owed())[0] == Owed("his", 2, NOW, 0)
    await things.bury("b", "b:1:his", "w1", "rejected")
    assert (await things.owed())[0] == Owed("his", 1, NOW, 1)
    await things.revive("b", "b:1:his", at=NOW)
    assert (await things.owed())[0] == Owed("his", 2, NOW, 0)


@pytest.mark.parametrize("driver", ["motor"], scope="module")  # a property of the server
@pytest.mark.gen_test(timeout=30)
async def test_a_look_for_work_does_not_walk_through_those_that_owe_nothing(indexed):
    idle, busy = indexed.db["things"], []
    await idle.delete_many({})
    await idle.insert_one(fresh("due", duties=[duty("his", "due", 1, NOW)], deadline_at=NOW))
    things = Moving(idle)

    async def pace():
        spent = []
        for _ in range(5):
            began = asyncio.get_running_loop().time()
            busy[:] = [*await things.due(NOW, 10), *await things.overdue(NOW, 10), await things.owed()]
            spent.append(asyncio.get_running_loop().time() - began)
        return sorted(spent)[2]

    few = await pace()
    await idle.insert_many([fresh(f"{n}") for n in range(5_000)])
    assert await pace() < 6 * few  # walking through so many takes fifty times as long
    assert [one["_id"] for one in busy[:2]] == ["due", "due"]
    await idle.delete_many({})


@pytest.mark.parametrize("driver", ["motor"], scope="module")  # a property of the server
@pytest.mark.gen_test(timeout=30)
async def test_changes_are_as_fast_among_five_thousand_documents_as_among_two_hundred(indexed):
    docs = indexed.db["many"]
    many = Moving(docs)

    async def pace(first):
        spent = []
        for n in range(first, first + 15):
            began = asyncio.get_running_loop().time()
            await many.move(f"{n}", ["waiting", "paid"], "open", entry=entry(), duties=[duty("n", f"{n}", 1, NOW)])
            await many.lease(f"{n}", f"{n}:1:n", seen_next_at=NOW, token="w", until=NOW)
            await many.finish(f"{n}", f"{n}:1:n", "w")
            spent.append(asyncio.get_running_loop().time() - began)
        return sorted(spent)[len(spent) // 2]

    await docs.insert_many([fresh(f"{n}") for n in range(200)])
    few = await pace(0)
    await docs.insert_many([fresh(f"{n}") for n in range(200, 5_000)], ordered=False)
    assert await pace(200) < 4 * few  # a scan of so many takes more than ten times as long


# --- against a model


class Model:
    """What a document should look like, told in plain Python."""

    def __init__(self):
        self.doc = fresh("m", "s0")

    def held(self, key, token):
        return next((one for one in self.doc["duties"] if one["key"] == key and one["lease"] == token), None)

    def move(self, frm, to, kinds, now):
        if self.doc["status"] != frm:
            return False
        added = [duty(kind, "m", self.doc["version"], now) for kind in kinds]
        self.doc["duties"] += added
        self.doc["history"].append(entry(at=now, frm=frm, to=to))
        self.doc |= {"status": to, "version": self.doc["version"] + 1, "updated_at": now}
        return True

    def lease(self, now, token):
        first = first_due(self.doc, now)
        if first:
            first |= {"lease": token, "next_at": now + 2 * MINUTE, "attempts": first["attempts"] + 1}
        return first is not None

    def hold_back(self, now):
        first = next((one for one in self.doc["duties"] if one["state"] == "due"), None)
        behind = [one for one in self.doc["duties"] if one["state"] == "due" and one is not first]
        if first and first["next_at"] > now and first["lease"] is None and any(d["next_at"] <= now for d in behind):
            for one in behind:
                if one["lease"] is None:
                    one["next_at"] = max(one["next_at"], first["next_at"])


statuses = st.sampled_from(["s0", "s1"])
workers = st.sampled_from(["w1", "w2"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("move"), statuses, statuses, st.sampled_from([(), ("his",), ("his", "notice")])),
        st.tuples(st.sampled_from(["lease", "finish", "postpone", "bury"]), workers),
        st.tuples(st.just("wait"), st.sampled_from([1, 3])),
    ),
    max_size=12,
)


async def compare(things, docs, todo):
    await docs.delete_many({})
    model, now, asked = Model(), NOW, {}
    await docs.insert_one(deepcopy(model.doc))
    for step, *rest in todo:
        if step == "move":
            frm, to, kinds = rest
            added = [duty(kind, "m", model.doc["version"], now) for kind in kinds]
            got = await things.move("m", frm, to, entry=entry(at=now, frm=frm, to=to), duties=added)
            assert (got is not None) == model.move(frm, to, kinds, now)
        elif step == "wait":
            now += rest[0] * MINUTE
        elif step == "lease":
            ready = await things.due(now, 5)
            model.hold_back(now)
            first = first_due(ready[0], now) if ready else None
            took = first is not None and await things.lease(
                "m", first["key"], seen_next_at=first["next_at"], token=rest[0], until=now + 2 * MINUTE
            )
            assert took == model.lease(now, rest[0])
            if took:
                asked[rest[0]] = first["key"]
        else:
            await end(things, model, step, asked.get(rest[0], "none"), rest[0], now)
        assert await things.get("m") == model.doc


async def end(things, model, how, key, token, now):
    held = model.held(key, token)
    if how == "finish":
        done = await things.finish("m", key, token)
        if held:
            model.doc["duties"].remove(held)
    elif how == "postpone":
        done = await things.postpone("m", key, token, now + MINUTE, "away")
        if held:
            held |= {"lease": None, "next_at": now + MINUTE, "error": "away"}
    else:
        done = await things.bury("m", key, token, "no")
        if held:
            held |= {"state": "dead", "lease": None, "next_at": None, "error": "no"}
    assert done == (held is not None)


@given(steps)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_steps_leaves_what_the_model_says(io_loop, docs, things, todo):
    io_loop.run_sync(lambda: compare(things, docs, todo), timeout=10)
