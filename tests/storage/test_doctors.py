import asyncio
from datetime import UTC, datetime

import pytest

from core.ids import new_id
from storage.doctors import DoctorRepository

AT = datetime(2026, 11, 2, 4, tzinfo=UTC)


def doctor(**changes):
    return {"_id": new_id(), "online": False, "rating_sum": 0, "rating_count": 0, "version": 1} | changes


@pytest.mark.gen_test
async def test_doctor_is_added_once_and_stays(store):
    doctors, first = DoctorRepository(store), doctor(name="第一")
    assert await doctors.add(first) is True
    assert await doctors.add(first | {"name": "第二"}) is False
    assert await doctors.get(first["_id"]) == first
    assert first in await doctors.every()


@pytest.mark.gen_test
async def test_switch_is_turned_and_counted(store):
    doctors, one = DoctorRepository(store), doctor()
    await doctors.add(one)
    assert await doctors.set_online(one["_id"], True, at=AT) is True
    assert await doctors.get(one["_id"]) == one | {"online": True, "version": 2, "updated_at": AT}
    assert await doctors.set_online("nobody", True, at=AT) is False


@pytest.mark.gen_test
async def test_late_and_repeated_ratings_never_take_anything_back(store):
    doctors, one = DoctorRepository(store), doctor()
    await doctors.add(one)
    sums = [(5, 1), (14, 3), (9, 2), (14, 3)]
    await asyncio.gather(*(doctors.set_rating(one["_id"], stars=stars, count=count, at=AT) for stars, count in sums))
    assert await doctors.set_rating(one["_id"], stars=9, count=2, at=AT) is False
    stored = await doctors.get(one["_id"])
    assert (stored["rating_sum"], stored["rating_count"]) == (14, 3)


@pytest.mark.gen_test
async def test_a_page_is_changed_only_as_it_was_seen(store):
    doctors, one = DoctorRepository(store), doctor(title="233")
    await doctors.add(one)
    assert await doctors.change(one, {"title": "232"}, entries=[{"act": "one"}], at=AT) is True
    assert await doctors.change(one, {"title": "231"}, entries=[{"act": "two"}], at=AT) is False
    changed = await doctors.get(one["_id"])
    assert (changed["title"], changed["version"], changed["history"]) == ("232", 2, [{"act": "one"}])


@pytest.mark.gen_test
async def test_a_suspended_doctor_goes_offline_and_comes_back_offline(store):
    doctors, one = DoctorRepository(store), doctor(online=True)
    await doctors.add(one)
    suspended = [await doctors.suspend(one["_id"], True, entry={"act": "suspend", "at": AT}) for _ in range(2)]
    resumed = [await doctors.suspend(one["_id"], False, entry={"act": "resume", "at": AT}) for _ in range(2)]
    assert (suspended, resumed) == ([True, False], [True, False])
    kept = await doctors.get(one["_id"])
    assert (kept["suspended"], kept["online"], kept["version"], len(kept["history"])) == (False, False, 3, 2)
