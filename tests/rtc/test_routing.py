import asyncio

import pytest

from core.context import Turn
from core.errors import Invalid, NotFound, ServiceUnavailable, WrongState
from rtc import routing
from tests.rtc.calling import SDP
from tests.rtc.standing_in import answer_to

CANDIDATE = {"candidate": "candidate:1 1 udp 1 10.0.0.1 5000 typ host", "sdpMid": "0"}


@pytest.mark.gen_test
async def test_an_offer_is_answered_with_relays_of_its_own(calling, case, media, monkeypatch):
    object.__setattr__(calling.ctx, "turn", Turn(("turn:t.example.org",), "north"))
    try:
        call = await calling.answered(case)
        answer = await calling.offer(case.patient, call["_id"], generation=3)
    finally:
        object.__setattr__(calling.ctx, "turn", Turn())
    assert (answer["generation"], answer["sdp"]) == (3, answer_to(SDP))
    (server,) = answer["ice_servers"]
    assert server["urls"] == ["turn:t.example.org"]
    assert server["username"].endswith(f":{case.patient.id}")
    (told,) = media.room(call["_id"]).ice_servers
    assert told.credential == server["credential"]


@pytest.mark.gen_test
async def test_media_is_set_up_between_the_answer_and_the_end_only(calling, case, media):
    call = await calling.ringing(case)
    with pytest.raises(WrongState):
        await calling.offer(case.doctor, call["_id"])
    await calling.pass_deadline(call["_id"])
    with pytest.raises(WrongState):
        await calling.offer(case.doctor, call["_id"])
    assert media.rooms.opened == {}


@pytest.mark.gen_test
async def test_offers_candidates_and_figures_for_others_calls_are_not_found(calling, case, media):
    call = await calling.answered(case)
    stranger = calling.session((await calling.house.patient())[0])
    with pytest.raises(NotFound):
        await routing.offer(calling.ctx, stranger, call_id=call["_id"], generation=1, sdp=SDP)
    with pytest.raises(NotFound):
        await routing.candidates(calling.ctx, stranger, call_id=call["_id"], generation=1, candidates=[CANDIDATE])
    with pytest.raises(NotFound):
        await routing.stats(calling.ctx, stranger, call_id=call["_id"], figures={})
    assert media.rooms.opened == {}


@pytest.mark.gen_test
async def test_a_description_that_is_none_is_invalid_with_the_reason_and_not_its_content(calling, case, media, capsys):
    call = await calling.answered(case)
    with pytest.raises(Invalid) as refused:
        await calling.offer(case.doctor, call["_id"], sdp="secret-marker no description")
    assert refused.value.errors == {"sdp": ["无法识别的会话描述（not_sdp）"]}
    printed = capsys.readouterr()
    assert "secret-marker" not in printed.out + printed.err
    assert (await calling.stored(call["_id"]))["legs"]["doctor"] == {"state": "none", "generation": 0}


@pytest.mark.gen_test
async def test_without_a_media_process_it_is_unavailable_and_the_call_stays(calling, case):
    call = await calling.answered(case)
    with pytest.raises(ServiceUnavailable):
        await calling.offer(case.doctor, call["_id"])
    assert (await calling.stored(call["_id"]))["status"] == "connecting"


@pytest.mark.gen_test
async def test_a_call_goes_to_the_process_with_the_fewest(calling, case, media):
    other = await calling.process()
    await media.ctx.heartbeats.beat(media.ctx.process, 7)
    call = await calling.answered(case)
    await calling.offer(case.doctor, call["_id"])
    assert (list(media.rooms.opened), list(other.rooms.opened)) == ([], [call["_id"]])


@pytest.mark.gen_test
async def test_a_process_that_leaves_sends_the_offer_on(calling, case, media):
    call = await calling.answered(case)
    other = await calling.process()
    await other.ctx.heartbeats.beat(other.ctx.process, 7)
    media.worker._leaving = True
    await calling.offer(case.doctor, call["_id"])
    assert list(other.rooms.opened) == [call["_id"]]


@pytest.mark.gen_test
async def test_a_room_that_does_not_answer_in_time_is_unavailable(calling, case, media, monkeypatch):
    call = await calling.answered(case)
    monkeypatch.setattr(routing, "OFFER_SECONDS", 0.05)

    async def never(*given):
        await asyncio.Event().wait()

    monkeypatch.setattr("tests.rtc.standing_in.StandInRoom.offer", never)
    monkeypatch.setattr("rtc.worker.OFFER_SECONDS", 0.2)
    with pytest.raises(ServiceUnavailable):
        await calling.offer(case.doctor, call["_id"])


@pytest.mark.gen_test
async def test_candidates_reach_the_room_of_the_call(calling, case, media):
    call = await calling.answered(case)
    session = calling.session(case.patient)
    send = {"call_id": call["_id"], "generation": 1, "candidates": [CANDIDATE]}
    await routing.candidates(calling.ctx, session, **send)  # nobody holds the call yet: they are moot
    await calling.offer(case.patient, call["_id"])
    await routing.candidates(calling.ctx, session, **send)
    assert media.room(call["_id"]).trickled == [("patient", 1, [CANDIDATE])]
    with pytest.raises(Invalid) as refused:
        await routing.candidates(calling.ctx, session, **send | {"candidates": [{"candidate": "none"}]})
    assert list(refused.value.errors) == ["candidates"]


@pytest.mark.gen_test
async def test_candidates_for_a_killed_process_are_moot(calling, case, media):
    call = await calling.answered(case)
    await calling.offer(case.patient, call["_id"])
    await media.kill()
    await routing.candidates(
        calling.ctx, calling.session(case.patient), call_id=call["_id"], generation=1, candidates=[CANDIDATE]
    )
    assert (await calling.stored(call["_id"]))["status"] == "connecting"
