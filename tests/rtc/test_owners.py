import pytest

from core import tasks
from rtc import owners


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(owners, "AGAIN_SECONDS", 0)


@pytest.mark.gen_test
async def test_the_calls_of_a_killed_process_are_set_free_for_all_to_see(calling, case, media):
    call = await calling.active(case, media)
    await media.kill()
    await owners.release_lost(calling.ctx)
    stored = await calling.stored(call["_id"])
    assert (stored["status"], stored["owner"], stored["history"][-1]["reason"]) == ("reconnecting", None, "media_lost")


@pytest.mark.gen_test
async def test_the_calls_of_a_process_that_stands_still_are_set_free(calling, case, media):
    call = await calling.active(case, media)
    await tasks.stop(media.worker._beating)
    await media.ctx.heartbeats.leave(media.ctx.process)  # as after three seconds without a beat
    await owners.release_lost(calling.ctx)
    assert (await calling.stored(call["_id"]))["owner"] is None


@pytest.mark.gen_test
async def test_a_process_that_is_missed_once_only_keeps_its_calls(calling, case, media, monkeypatch):
    call = await calling.active(case, media)
    real, looks = calling.ctx.bus.listening, []

    async def missed_once(processes):
        looks.append(processes)
        return set() if len(looks) == 1 else await real(processes)

    monkeypatch.setattr(calling.ctx.bus, "listening", missed_once)
    await media.ctx.heartbeats.beat(media.ctx.process, 1)
    await owners.release_lost(calling.ctx)
    assert len(looks) == 2
    assert (await calling.stored(call["_id"]))["status"] == "active"


@pytest.mark.gen_test
async def test_while_all_live_nothing_changes(calling, case, media):
    call = await calling.active(case, media)
    await media.ctx.heartbeats.beat(media.ctx.process, 1)
    await owners.release_lost(calling.ctx)
    assert await calling.stored(call["_id"]) == call
