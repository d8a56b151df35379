import asyncio

import pytest

from rtc import legs
from tests.rtc.calling import SDP


@pytest.mark.gen_test
async def test_one_of_many_claims_an_answered_call(calling, case):
    call = await calling.answered(case)
    claims = await asyncio.gather(
        *(legs.claim(calling.ctx, call["_id"], seen=None, process=f"process-{n}") for n in range(5))
    )
    assert len([one for one in claims if one is not None]) == 1


@pytest.mark.gen_test
async def test_a_call_that_still_rings_or_has_ended_is_nobodys(calling, case):
    call = await calling.ringing(case)
    assert await legs.claim(calling.ctx, call["_id"], seen=None, process="p") is None
    await calling.pass_deadline(call["_id"])
    assert await legs.claim(calling.ctx, call["_id"], seen=None, process="p") is None
    assert (await calling.stored(call["_id"]))["owner"] is None


@pytest.mark.gen_test
async def test_what_another_than_the_owner_tells_changes_nothing(calling, case, media):
    call = await calling.active(case, media)
    told = await legs.changed(calling.ctx, call["_id"], owner="other", side="doctor", generation=1, state="lost")
    await legs.lose(calling.ctx, call["_id"], owner="other", side="doctor", generation=1)
    await legs.release(calling.ctx, call["_id"], owner="other")
    assert told is None
    assert await calling.stored(call["_id"]) == call


@pytest.mark.gen_test
async def test_a_released_call_reconnects_with_both_legs_lost(calling, case, media):
    call = await calling.active(case, media)
    await legs.release(calling.ctx, call["_id"], owner=media.ctx.process)
    stored = await calling.stored(call["_id"])
    assert (stored["status"], stored["owner"]) == ("reconnecting", None)
    assert [leg["state"] for leg in stored["legs"].values()] == ["lost", "lost"]
    grace = (stored["deadline_at"] - stored["updated_at"]).total_seconds()
    assert grace == calling.ctx.policy.call_reconnect_seconds


@pytest.mark.gen_test
async def test_changes_of_both_legs_at_once_are_both_kept(calling, case, media):
    call = await calling.answered(case)
    await calling.offer(case.doctor, call["_id"], sdp=SDP)
    changes = [
        legs.changed(
            calling.ctx, call["_id"], owner=media.ctx.process, side=side, generation=generation, state="connected"
        )
        for side, generation in (("doctor", 1), ("patient", 1))
    ]
    await asyncio.gather(*changes)
    stored = await calling.stored(call["_id"])
    assert [leg["state"] for leg in stored["legs"].values()] == ["connected", "connected"]
    assert stored["status"] == "active"
