"""Races of services with the visit they belong to."""

import asyncio

import pytest

from im import standing as standings
from tests.im.house import Refused, move_visit, stored

pytestmark = pytest.mark.gen_test(timeout=20)


@pytest.mark.parametrize("turns", range(0, 40, 8))
async def test_a_send_that_races_with_the_end_lands_and_is_acknowledged_or_is_refused(server, indexed, visit, turns):
    patient = await server.line(visit.patient)
    frame, answer = patient.ask("message.send", conversation=visit.id, kind="text", body={"text": "x"})
    await patient.write(frame)
    for _ in range(turns):
        await asyncio.sleep(0)
    await move_visit(server, visit, "completed")
    [outcome] = await asyncio.gather(patient.answer(answer), return_exceptions=True)
    numbers = [message["seq"] for message in await stored(indexed, visit.id)]
    if isinstance(outcome, Refused):
        assert (outcome.code, numbers) == ("wrong_state", [])
    else:
        assert (outcome["seq"], numbers) == (1, [1])


async def test_a_process_that_hears_of_no_move_stops_within_five_seconds(start, indexed, visit, monkeypatch):
    server = await start()
    patient = await server.line(visit.patient)
    await patient.say(visit, "一")
    await indexed.db["visits"].update_one({"_id": visit.id}, {"$set": {"status": "completed"}})
    assert (await patient.say(visit, "二"))["seq"] == 2
    monkeypatch.setattr(standings, "BELIEVED_SECONDS", -1.0)
    with pytest.raises(Refused, match="wrong_state"):
        await patient.say(visit, "三")
    assert len(await stored(indexed, visit.id)) == 2


async def test_with_the_bus_away_messages_are_acknowledged_delivered_here_and_caught_up_elsewhere(start, visit):
    here, there = await start(), await start()
    patient, tablet = await here.line(visit.patient), await here.line(visit.patient, device="tablet")
    doctor = await there.line(visit.doctor, "doctor")
    here.bus.available = False
    ack = await patient.say(visit, "您好")
    await tablet.event("message.created", seq=1)
    page = (await doctor.request("sync", cursors={visit.id: 0}))["conversations"][0]
    here.bus.available = True
    assert (ack["seq"], doctor.said(visit)) == (1, [])
    assert [message["body"] for message in page["messages"]] == [{"text": "您好"}]


async def test_a_second_process_goes_on_counting_from_what_it_heard(start, visit):
    here, there = await start(), await start()
    patient, doctor = await here.line(visit.patient), await there.line(visit.doctor, "doctor")
    await patient.say(visit, "一")
    await doctor.event("message.created", seq=1)
    assert there.journal.known_seq(visit.id) == 1
    assert (await doctor.say(visit, "二"))["seq"] == 2
