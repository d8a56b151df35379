from datetime import timedelta
from itertools import pairwise

import pytest

from core.notices import service
from core.ports import NotSent, Rejected, Unavailable
from tests.core.notices.conftest import DOCTOR, PATIENT, PAUSE, VISIT, Killed

pytestmark = pytest.mark.gen_test(timeout=60)


async def owe(desk, **changes):
    given = {"visit": VISIT, "account": PATIENT, "receiver": "patient", "steps": 1} | changes
    return await service.owe(desk, **given)


async def empty(desk):
    for docs in (desk.notices._docs, desk.accounts._docs):
        await docs.delete_many({})
    desk.phones.got.clear()
    desk.steps.done.clear()


async def killed_at_each_step(desk, **account):
    """For each step of telling one notice: its name, and what had arrived by the end of the pause, and long after."""
    number = 0
    while True:
        number += 1
        await empty(desk)
        await desk.add_account(**account)
        await owe(desk)
        desk.steps.last, desk.steps.done = number, []
        await desk.run(10)
        if len(desk.steps.done) < number:
            return
        step, desk.steps.last = desk.steps.done[-1], None
        await desk.run(61)
        early = desk.phones.names()
        await desk.run(PAUSE)
        await desk.run(PAUSE)
        yield step, early, desk.phones.got


async def test_killed_between_any_two_steps_a_subscribe_message_is_neither_lost_nor_doubled_in_the_pause(desk):
    repeated = []
    async for step, early, got in killed_at_each_step(desk):
        assert early in (["subscribe"], []), step
        assert {name for name, _ in got} == {"subscribe"}, step
        times = [at for _, at in got]
        assert all(later - at >= timedelta(seconds=PAUSE) for at, later in pairwise(times)), step
        if len(got) > 1:
            repeated.append(step)
    assert repeated == ["after subscribe", "before proceed to quiet"]
    assert (await desk.notice())["status"] == "quiet"


async def test_killed_between_any_two_steps_a_text_message_is_never_doubled_and_lost_only_inside_its_call(desk):
    lost = []
    async for step, early, got in killed_at_each_step(desk, openid=""):
        assert early == [name for name, _ in got], step
        assert early in (["sms"], []), step
        if not got:
            lost.append(step)
    assert lost == ["after change to sms", "before sms"]


async def test_killed_while_the_channels_change_nothing_is_lost_or_told_twice(desk):
    desk.phones.refusals["subscribe"] = [Rejected("not_allowed")] * 1_000
    lost = []
    async for step, _, got in killed_at_each_step(desk):
        assert len(got) <= 1, step
        if not got:
            lost.append(step)
    assert lost == ["after proceed to sms", "before sms"]


async def test_the_killing_of_these_tests_ends_a_runner_for_good(desk):
    desk.steps.last = 1
    with pytest.raises(Killed):
        desk.steps.come_to("anything")


async def test_a_step_is_owed_once_however_often_it_is_repeated(desk):
    assert await owe(desk) == desk.clock.now() + timedelta(seconds=5)
    first = await desk.notice()
    assert await owe(desk) is None
    assert await desk.notice() == first
    assert [duty["kind"] for duty in first["duties"]] == ["notice.send"]


async def test_what_happens_before_it_is_told_is_told_with_it(desk):
    await desk.add_account()
    due_at = await owe(desk)
    assert await owe(desk, steps=0) == due_at
    assert await owe(desk, steps=3) == due_at
    await desk.run(10)
    assert desk.phones.names() == ["subscribe"]
    assert (await desk.notice())["told"] == {"steps": 3, "seq": 0}


async def test_the_next_waits_for_the_end_of_the_pause(desk):
    await desk.add_account()
    await owe(desk)
    await desk.run(10)
    begun = (await desk.notice())["noticed_at"]
    assert await owe(desk, steps=2) == begun + timedelta(seconds=PAUSE)
    await desk.run(PAUSE - 1)
    assert desk.phones.names() == ["subscribe"]
    await desk.run(1)
    assert desk.phones.names() == ["subscribe"] * 2


async def test_what_happens_while_it_is_being_told_is_told_after_the_pause(desk):
    await desk.add_account()
    await owe(desk)

    async def something_more():
        desk.phones.meanwhile = None
        await owe(desk, steps=2)

    desk.phones.meanwhile = something_more
    await desk.run(10)
    assert ((await desk.notice())["status"], desk.phones.names()) == ("owed", ["subscribe"])
    await desk.run(PAUSE)
    assert ((await desk.notice())["status"], desk.phones.names()) == ("quiet", ["subscribe"] * 2)


async def test_an_unanswered_subscribe_message_goes_by_no_other_channel_and_again_after_the_pause(desk):
    await desk.add_account()
    desk.phones.refusals["subscribe"] = [Unavailable("silent")]
    await owe(desk)
    await desk.run(10)
    assert (desk.phones.got, (await desk.notice())["outcome"]["outcome"]) == ([], "unknown")
    await desk.run(PAUSE)
    assert desk.phones.names() == ["subscribe"]


async def test_an_unanswered_text_message_is_not_sent_again(desk):
    await desk.add_account(openid="")
    desk.phones.refusals["sms"] = [Unavailable("silent")]
    await owe(desk)
    await desk.run(10)
    assert (await desk.notice())["outcome"] == {"channel": "sms", "outcome": "unknown", "at": desk.clock.now()}
    await desk.run(PAUSE)
    assert (desk.phones.got, (await desk.notice())["status"]) == ([], "quiet")


@pytest.mark.parametrize("refusal", [Rejected("not_allowed"), Rejected("errcode_40037"), NotSent("busy")])
async def test_what_surely_did_not_go_out_by_wechat_goes_by_text_message(desk, refusal):
    await desk.add_account()
    desk.phones.refusals["subscribe"] = [refusal]
    await owe(desk)
    await desk.run(10)
    assert desk.phones.names() == ["sms"]


async def test_the_doctor_is_told_through_the_mini_program_of_the_staff(desk):
    await desk.add_account(DOCTOR)
    await owe(desk, account=DOCTOR, receiver="doctor")
    await desk.run(10)
    assert desk.phones.names() == ["staff"]


async def test_while_redis_is_away_nobody_is_told_and_nothing_forgotten(desk):
    await desk.add_account()
    await owe(desk)
    desk.bus.available = False
    await desk.run(10)
    assert (desk.phones.got, (await desk.notice())["status"]) == ([], "owed")
    desk.bus.available = True
    await desk.run(15)
    assert desk.phones.names() == ["subscribe"]


@pytest.mark.parametrize(
    ("messages", "read", "told"),
    [
        ([(DOCTOR, None)], 0, ["subscribe"]),
        ([(DOCTOR, None)], 1, []),
        ([(DOCTOR, None), (DOCTOR, None)], 1, ["subscribe"]),
        ([(PATIENT, None)], 0, []),
        ([("system", None)], 0, []),
        ([(DOCTOR, "recalled")], 0, []),
        ([(DOCTOR, None), ("system", None), (PATIENT, None)], 0, ["subscribe"]),
    ],
)
async def test_only_what_another_said_and_nobody_has_read_is_told(desk, messages, read, told):
    await desk.add_account()
    for seq, (account, recalled) in enumerate(messages, 1):
        await desk.say(account, seq, recalled_at=desk.clock.now() if recalled else None)
    await desk.read(read)
    await owe(desk, steps=0)
    await desk.run(10)
    assert desk.phones.names() == told
    assert (await desk.notice())["status"] == "quiet"


async def test_what_was_told_of_once_is_not_told_again_though_it_is_still_unread(desk):
    await desk.add_account()
    await desk.say()
    await owe(desk, steps=0)
    await desk.run(10)
    await owe(desk, steps=0)
    await desk.run(PAUSE)
    assert desk.phones.names() == ["subscribe"]


@pytest.mark.parametrize("account", [{"status": "disabled"}, {"openid": "", "phone": ""}])
async def test_who_is_disabled_or_has_no_channel_is_not_told(desk, account):
    await desk.add_account(**account)
    await owe(desk)
    await desk.run(10)
    assert (desk.phones.got, (await desk.notice())["status"]) == ([], "quiet")


async def test_a_duty_that_was_given_up_does_not_silence_the_next_notice(desk):
    await desk.add_account()
    await owe(desk)
    duty = (await desk.notice())["duties"][0]
    assert await desk.notices.lease(
        f"{VISIT}:{PATIENT}", duty["key"], seen_next_at=duty["next_at"], token="t", until=duty["next_at"]
    )
    assert await desk.notices.bury(f"{VISIT}:{PATIENT}", duty["key"], "t", "bug")
    await owe(desk, steps=2)
    await desk.run(10)
    assert desk.phones.names() == ["subscribe"]


async def test_the_newest_step_is_owed_to_whom_it_concerns_unless_they_are_online(desk):
    visit = {
        "_id": VISIT,
        "patient_account": PATIENT,
        "doctor_id": DOCTOR,
        "history": [
            {"act": "submit", "frm": "pending_payment", "to": "waiting"},
            {"act": "accept", "frm": "waiting", "to": "in_progress"},
        ],
    }
    desk.bus.online = {PATIENT}
    await service.owe_step(desk, visit)
    assert (await desk.notice(), await desk.notice(DOCTOR)) == (None, None)
    desk.bus.online = set()
    await service.owe_step(desk, visit)
    assert (await desk.notice())["owed_steps"] == 2
    assert await desk.notice(DOCTOR) is None
