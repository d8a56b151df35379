"""Films of calls: ordered once, made under a claim, made again by another when its maker dies."""

import asyncio
import os
import tempfile
from datetime import timedelta
from pathlib import Path

import av
import pytest

from core.outbox import MAX_ATTEMPTS
from rtc import films, parts, service
from rtc.compose import CompositionFailed, Film
from rtc.recording import lock_folder
from tests.rtc.samples import picture, sound
from tests.rtc.stored import keep_room, write_segment

pytestmark = pytest.mark.gen_test(timeout=60)
OTHER_ROOM = "fedcba9876543210"


@pytest.fixture
def made(monkeypatch):
    """Films are made at once, of no content; what for."""
    found = []

    async def compose(pieces, target):
        found.append(sorted(piece.path.name for piece in pieces))
        assert all(piece.path.stat().st_size > 100 for piece in pieces)
        target.write_bytes(b"film")
        return Film(duration=1.0, pictures=0, size=4)

    monkeypatch.setattr(films, "compose", compose)
    return found


@pytest.fixture(autouse=True)
def temporary(ctx, io_loop, tmp_path, monkeypatch):
    """Where films are made; none of another test is due."""
    io_loop.run_sync(lambda: ctx.store.db["calls"].update_many({}, {"$set": {"film": None}}))
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def collected(calling, case, tmp_path, *names, samples=None):
    """A call that has ended and whose segments are in the store."""
    call = await calling.ringing(case)
    ended = await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="cancel")
    await calling.cards(case)  # what the end owes has been done
    await keep(calling, ended["_id"], tmp_path, *names, samples=samples)
    await films.settle(calling.ctx, ended["_id"])
    return ended["_id"]


async def keep(calling, call_id, tmp_path, *names, samples=None, room=None):
    now = calling.ctx.clock.now()
    segments = [write_segment(tmp_path, name, samples or sound(0.0, 25), now) for name in names]
    await keep_room(calling.ctx, call_id, tmp_path, segments, **({"room": room} if room else {}))


async def film_of(calling, call_id):
    return (await calling.stored(call_id))["film"]


async def make_due(calling, call_id):
    """Its time has come, or the lease of its maker has ended."""
    past = calling.ctx.clock.now() - timedelta(seconds=1)
    await calling.ctx.store.db["calls"].update_one({"_id": call_id}, {"$set": {"film.next_at": past}})


async def test_a_film_of_both_sides_is_made_stored_and_described(calling, case, tmp_path, temporary):
    names = ("doctor-1-1.webm", "patient-1-1.webm")
    call_id = await collected(calling, case, tmp_path, *names, samples=[*sound(0.0, 25), *picture(0.0, 12)])
    assert await films.compose_due(calling.ctx) == 1
    call = await calling.stored(call_id)
    film = call["film"]
    assert (film["next_at"], film["claim"], film["segments"], film["attempts"]) == (None, None, 2, 1)
    data = await calling.ctx.files.read(film["file"])
    (tmp_path / "film.mp4").write_bytes(data)
    with av.open(str(tmp_path / "film.mp4")) as file:
        assert {stream.type: stream.codec_context.name for stream in file.streams} == {"video": "h264", "audio": "aac"}
    assert (film["size"], film["pictures"] > 10, parts.is_composed(call)) == (len(data), True, True)
    assert list(temporary.iterdir()) == []
    assert await films.compose_due(calling.ctx) == 0


async def test_nothing_is_ordered_while_the_call_lives_or_something_is_to_come(calling, case, tmp_path):
    call = await calling.ringing(case)
    await keep(calling, call["_id"], tmp_path, "doctor-1-1.webm")
    await films.settle(calling.ctx, call["_id"], complete=True)
    assert await film_of(calling, call["_id"]) is None
    await service.end(calling.ctx, calling.session(case.doctor), call_id=call["_id"], act="cancel")
    await calling.cards(case)
    assert (await film_of(calling, call["_id"]))["next_at"] is not None  # its end settles it
    await films.settle(calling.ctx, "01J0000000000000000000000A")


async def test_a_film_that_fails_is_tried_again_later_and_given_up_at_last(calling, case, tmp_path, monkeypatch):
    call_id = await collected(calling, case, tmp_path, "doctor-1-1.webm")

    async def fail(pieces, target):
        raise CompositionFailed("took too long")

    monkeypatch.setattr(films, "compose", fail)
    before = calling.ctx.clock.now()
    assert await films.compose_due(calling.ctx) == 0
    film = await film_of(calling, call_id)
    assert (film["attempts"], film["claim"], film["error"], film["file"]) == (1, None, "CompositionFailed", None)
    assert film["next_at"] > before
    await calling.ctx.store.db["calls"].update_one({"_id": call_id}, {"$set": {"film.attempts": MAX_ATTEMPTS - 1}})
    await make_due(calling, call_id)
    await films.compose_due(calling.ctx)
    film = await film_of(calling, call_id)
    assert (film["next_at"], film["file"], film["segments"]) == (None, None, 1)
    await films.settle(calling.ctx, call_id)
    assert await film_of(calling, call_id) == film  # and not ordered again


async def test_the_film_of_a_worker_that_was_killed_is_made_by_another(calling, case, tmp_path, made, monkeypatch):
    call_id = await collected(calling, case, tmp_path, "doctor-1-1.webm")

    class Killed(BaseException):
        pass

    async def killed(*given, **named):
        raise Killed

    with monkeypatch.context() as dying:  # after the film is in the store and before the call knows
        dying.setattr(calling.ctx.calls, "write_film", killed)
        with pytest.raises(Killed):
            await films.compose_due(calling.ctx)
    dead = (await film_of(calling, call_id))["claim"]
    assert await calling.ctx.files.size(parts.film_of(call_id, dead)) == 4
    assert await films.compose_due(calling.ctx) == 0  # its lease still runs
    await make_due(calling, call_id)
    assert await films.compose_due(calling.ctx) == 1
    film = await film_of(calling, call_id)
    assert (film["attempts"], film["file"] == parts.film_of(call_id, dead)) == (2, False)
    assert await calling.ctx.files.sizes([parts.film_of(call_id, dead), film["file"]]) == {film["file"]: 4}


async def test_a_film_that_kills_its_makers_is_given_up(calling, case, tmp_path, made):
    call_id = await collected(calling, case, tmp_path, "doctor-1-1.webm")
    dead = {"film.attempts": MAX_ATTEMPTS, "film.claim": "dead"}
    await calling.ctx.store.db["calls"].update_one({"_id": call_id}, {"$set": dead})
    assert await films.compose_due(calling.ctx) == 0
    film = await film_of(calling, call_id)
    assert (made, film["next_at"], film["error"]) == ([], None, "CompositionFailed")


async def test_of_two_workers_one_makes_the_film(calling, case, tmp_path, made):
    call_id = await collected(calling, case, tmp_path, "doctor-1-1.webm")
    call = await calling.stored(call_id)
    assert [await films._try(calling.ctx, call), await films._try(calling.ctx, call)] == [True, False]
    assert made == [["doctor-1-1.webm"]]


async def test_whose_claim_was_taken_over_leaves_nothing(calling, case, tmp_path, made, monkeypatch):
    call_id = await collected(calling, case, tmp_path, "doctor-1-1.webm")
    real = films.compose

    async def slow(pieces, target):
        await calling.ctx.store.db["calls"].update_one({"_id": call_id}, {"$set": {"film.claim": "another"}})
        return await real(pieces, target)

    monkeypatch.setattr(films, "compose", slow)
    assert await films.compose_due(calling.ctx) == 0
    assert (await film_of(calling, call_id))["file"] is None
    names = [one["_id"] async for one in calling.ctx.store.db["files.files"].find({"_id": {"$gt": "recording:"}})]
    assert not [name for name in names if name.startswith(f"recording:{call_id}:film")]


async def test_a_maker_that_cannot_renew_its_claim_stops(calling, case, tmp_path, monkeypatch):
    call_id = await collected(calling, case, tmp_path, "doctor-1-1.webm")

    async def endless(pieces, target):
        await calling.ctx.store.db["calls"].update_one({"_id": call_id}, {"$set": {"film.claim": "another"}})
        await asyncio.Event().wait()

    monkeypatch.setattr(films, "compose", endless)
    monkeypatch.setattr(films, "RENEW_SECONDS", 0.01)
    assert await films.compose_due(calling.ctx) == 0
    assert (await film_of(calling, call_id))["claim"] == "another"


async def test_a_segment_that_comes_late_makes_another_film_and_the_first_goes(calling, case, tmp_path, made):
    call_id = await collected(calling, case, tmp_path, "doctor-1-1.webm")
    await films.compose_due(calling.ctx)
    first = (await film_of(calling, call_id))["file"]
    await keep(calling, call_id, tmp_path, "patient-2-1.webm", room=OTHER_ROOM)
    await films.settle(calling.ctx, call_id)
    assert (await film_of(calling, call_id))["file"] == first  # to be watched until then
    assert await films.compose_due(calling.ctx) == 1
    film = await film_of(calling, call_id)
    assert made[-1] == ["doctor-1-1.webm", "patient-2-1.webm"]
    assert await calling.ctx.files.sizes([first, film["file"]]) == {film["file"]: 4}


async def test_what_a_killed_worker_left_on_the_disk_goes_and_what_another_uses_stays(calling, temporary):
    left, used = (Path(tempfile.mkdtemp(prefix="hospital-film-")) for _ in range(2))
    (left / "doctor-1-1.webm").write_bytes(b"said")
    lock = lock_folder(used)
    await films.compose_due(calling.ctx)
    assert list(temporary.iterdir()) == [used]
    os.close(lock)
