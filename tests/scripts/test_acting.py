import asyncio
from functools import partial

import pytest

from scripts.acting import Line, NotAsPromised, Person, Refused, until
from tests.people import in_progress, new_phone


@pytest.mark.gen_test(timeout=30)
async def test_a_patient_logs_in_by_wechat_and_by_text_message_into_the_same_account(hospital):
    phone = new_phone()
    by_wechat = await hospital.person().login_by_wechat(hospital.outside, phone)
    by_message = await hospital.person().login_by_text_message(hospital.outside, phone)
    assert by_wechat.account["id"] == by_message.account["id"]
    assert (await by_message.get("/me"))["id"] == by_wechat.account["id"]


@pytest.mark.gen_test(timeout=30)
async def test_a_refusal_bears_its_code_and_the_whole_problem(hospital):
    with pytest.raises(Refused) as refused:
        await hospital.person().login_by_password("nobody", "wrong")
    assert (refused.value.code, refused.value.body["status"]) == ("bad_credentials", 401)
    with pytest.raises(Refused) as unknown:
        await hospital.person().get("/me")
    assert unknown.value.code == "unauthenticated"


@pytest.mark.gen_test(timeout=30)
async def test_a_socket_without_a_login_is_refused_and_not_left_open(hospital, monkeypatch):
    opened = []
    open_line = Line.open

    async def listen(url):
        opened.append(await open_line(url))
        return opened[-1]

    monkeypatch.setattr(Line, "open", listen)
    stranger = Person(hospital.http, hospital.url)
    stranger.token = "no token at all"
    with pytest.raises((Refused, NotAsPromised)):
        await stranger.connect()
    assert (len(opened), opened[0].closed.is_set()) == (1, True)


@pytest.mark.gen_test(timeout=60)
async def test_answers_come_by_their_id_and_events_in_their_order(hospital):
    stage = await in_progress(hospital)
    visit = stage.found["visit"]["id"]
    patient, doctor = stage.lines["patient"], stage.lines["doctor"]
    acks = await asyncio.gather(*(patient.say(visit, f"第{n}句", id=f"n{n}") for n in range(3)))
    heard = [await doctor.next_event("message.created", conversation=visit, seq=ack["seq"]) for ack in acks]
    assert [one["body"]["text"] for one in heard] == ["第0句", "第1句", "第2句"]
    with pytest.raises(Refused) as refused:
        await patient.request("message.send", conversation=visit, kind="emoji", body={"code": "no such"})
    assert refused.value.code == "invalid"
    await stage.close()
    with pytest.raises(NotAsPromised):
        await doctor.next_event("message.created", conversation="another")


@pytest.mark.gen_test(timeout=30)
async def test_asking_until_it_holds_ends_when_it_does_and_complains_when_it_does_not():
    answers = iter([False, False, True])

    async def holds():
        return next(answers)

    async def never():
        return False

    await until(holds)
    with pytest.raises(NotAsPromised, match="never did not become true"):
        await until(never, seconds=0.1)
    with pytest.raises(StopIteration):
        next(answers)
    assert partial(until, holds)
