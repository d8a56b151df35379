"""The numbers on the doctor's home, pushed by the moves of visits where somebody looks at them."""

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from core.visits import service as visits


@pytest.fixture
def told(desk, monkeypatch):
    """The counts that were pushed to this doctor."""
    heard, publish = [], desk.ctx.bus.publish

    async def listen(envelopes):
        heard.extend(one["data"] for one in envelopes if one["ev"] == "desk.updated" and desk.doctor.id in one["to"])
        assert not [one for one in envelopes if one["ev"] == "desk.updated" and one["to"] != [desk.doctor.id]]
        await publish(envelopes)

    monkeypatch.setattr(desk.ctx.bus, "publish", listen)
    return heard


async def act(desk, who, visit: str, name: str, **given):
    return await visits.act(desk.ctx, caller=who, visit_id=visit, act=name, **given)


@pytest.mark.feature("D2.1")
@pytest.mark.gen_test(timeout=30)
async def test_every_move_tells_the_numbers_as_they_are_after_it(desk, told):
    await desk.ctx.bus.present(desk.doctor.id)
    who = await desk.asking()
    first, second = await desk.asked_by(who), await desk.asked_by(who)
    await act(desk, desk.doctor, first, "accept")
    await act(desk, who.caller, second, "cancel")
    await act(desk, desk.doctor, first, "complete")
    await desk.ctx.bus.absent(desk.doctor.id)
    assert [(one["waiting"], one["accepted"]) for one in told] == [(1, 0), (2, 0), (1, 1), (0, 1), (0, 0)]


@pytest.mark.gen_test(timeout=30)
async def test_nothing_is_counted_for_a_doctor_who_is_away(desk, told, monkeypatch):
    async def count(doctor_id):
        raise AssertionError("nobody looks")

    monkeypatch.setattr(desk.ctx.visits, "open_counts", count)
    await desk.new_patient()
    assert told == []


@pytest.mark.gen_test(timeout=30)
async def test_a_move_stands_though_the_store_goes_away_before_the_numbers_are_counted(desk, told, monkeypatch):
    async def away(doctor_id):
        raise ServerSelectionTimeoutError("gone")

    visit = await desk.asked_by(await desk.asking())
    await desk.ctx.bus.present(desk.doctor.id)
    monkeypatch.setattr(desk.ctx.visits, "open_counts", away)
    moved = await act(desk, desk.doctor, visit, "accept")
    await desk.ctx.bus.absent(desk.doctor.id)
    assert (moved["status"], told) == ("in_progress", [])
