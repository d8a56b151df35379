import pytest

from core.notices import jobs, service
from tests.core.notices.conftest import DOCTOR, PATIENT, PAUSE, VISIT

pytestmark = pytest.mark.gen_test(timeout=30)


async def add_visit(desk, **changes):
    visit = {"_id": VISIT, "status": "in_progress", "patient_account": PATIENT, "doctor_id": DOCTOR, "history": []}
    await desk.visits.add(visit | changes)


async def owed(desk):
    return [account for account in (PATIENT, DOCTOR) if (await desk.notice(account)) is not None]


async def test_the_notice_that_a_kill_kept_from_being_owed_is_found_and_told(desk):
    await desk.add_account()
    await add_visit(desk)
    await desk.say()
    desk.clock.step(30)
    assert await jobs.find_missed(desk) == 0
    desk.clock.step(30)
    assert await jobs.find_missed(desk) == 1
    assert await owed(desk) == [PATIENT]
    await desk.run(10)
    assert desk.phones.names() == ["subscribe"]
    assert await jobs.find_missed(desk) == 0


@pytest.mark.parametrize("why", ["read", "online", "own", "ended", "old", "redis"])
async def test_nothing_is_missed_where_nobody_has_to_be_told(desk, why):
    await add_visit(desk, status="completed" if why == "ended" else "in_progress")
    await desk.say("system" if why == "own" else DOCTOR)
    if why == "read":
        await desk.read(1)
    desk.bus.online = {PATIENT} if why == "online" else set()
    desk.bus.available = why != "redis"
    desk.clock.step(100_000 if why == "old" else 120)
    assert await jobs.find_missed(desk) == 0
    assert await owed(desk) == []


async def test_what_is_owed_or_was_told_is_not_found_again(desk):
    await desk.add_account()
    await add_visit(desk)
    await desk.say()
    await service.owe(desk, visit=VISIT, account=PATIENT, receiver="patient")
    desk.clock.step(120)
    assert await jobs.find_missed(desk) == 0
    await desk.run()
    desk.clock.step(PAUSE)
    assert await jobs.find_missed(desk) == 0
    await desk.say(seq=2)
    desk.clock.step(120)
    assert await jobs.find_missed(desk) == 1


async def test_all_visits_in_progress_are_looked_over(desk, monkeypatch):
    monkeypatch.setattr(jobs, "_BATCH", 2)
    for number in range(5):
        visit = f"v{number}"
        await add_visit(desk, _id=visit)
        await desk.say(seq=1, _id=f"m-{visit}", conversation=visit)
    desk.clock.step(120)
    assert await jobs.find_missed(desk) == 5
