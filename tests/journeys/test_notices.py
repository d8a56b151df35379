"""Who is offline is told that something waits in the app: once, by WeChat if they allowed it, else by text message."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app import serving
from core.notices import rules
from scripts.acting import until
from scripts.demo.load import load
from tests.clock import SettableClock
from tests.hospital import TestHospital, open_test_hospital
from tests.people import fresh_key, in_progress, submitted, waiting

DOCTORS_PHONE = "19900000001"
PAUSE = 600
SAID = "请您按时服药，明天复查心电图"

pytestmark = pytest.mark.gen_test(timeout=90)


@pytest.fixture(scope="module")
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture(scope="module")
def _hospital(io_loop, mongo_uri, redis_url, tmp_path_factory, clock) -> Iterator[TestHospital]:
    folder = tmp_path_factory.mktemp("notices")
    opened = open_test_hospital(mongo_uri, redis_url, "notices", folder, clock=clock)
    running = io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: load(running.ctx, production=False), timeout=120)
    yield running
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@pytest.fixture
def hospital(_hospital, clock) -> TestHospital:
    """The time is the real one again: the gateway's notifications must be fresh."""
    clock.step((datetime.now(UTC) - clock.now()).total_seconds() // 1)
    return _hospital


class Scene:
    """One consultation, and what its people's phones show."""

    def __init__(self, hospital, clock, stage):
        self.hospital, self.clock, self.stage = hospital, clock, stage
        self.phone = stage.found["phone"]
        self.visit = stage.found["visit"]["id"]

    def account(self, who):
        return getattr(self.stage, who).account["id"]

    async def notice(self, who="patient"):
        return await self.hospital.ctx.notices.of(self.visit, self.account(who))

    async def leaves(self, who="patient"):
        await self.stage.lines.pop(who).close()

        async def is_gone():
            return not await self.hospital.ctx.bus.is_online([self.account(who)])

        await until(is_gone)

    async def says(self, *texts, who="doctor"):
        for said in texts:
            await self.stage.lines[who].say(self.visit, said)

    async def is_owed(self, who="patient"):
        async def has_become():
            notice = await self.notice(who)
            return notice is not None and notice["status"] == "owed"

        await until(has_become)

    async def after(self, seconds):
        """Let so much time pass, and two look at once at what is due, beside the worker itself."""
        self.clock.step(seconds)
        await asyncio.gather(*(self.hospital.ctx.duties.run_due() for _ in range(2)))

        async def nothing_is_left_to_do():
            await self.hospital.ctx.duties.run_due()
            notices = [await self.notice(who) for who in ("patient", "doctor")]
            duties = [duty for notice in notices if notice for duty in notice["duties"]]
            return all(duty["lease"] is None and duty["next_at"] > self.clock.now() for duty in duties)

        await until(nothing_is_left_to_do)

    async def got(self):
        """Subscribe messages, and text messages to the patient."""
        outside = self.stage.outside
        by_text = await outside.text_messages(self.phone, "patient_notice")
        return len(await outside.subscribe_messages(self.phone)), by_text


@pytest.fixture
def scene_of(hospital, clock, io_loop):
    """Begins a consultation; all who are left in it leave with the test."""
    scenes = []

    async def begin(story=in_progress, permissions=0):
        stage = await story(hospital)
        if permissions:
            await hospital.outside.allow_messages(stage.found["phone"], permissions)
        scenes.append(Scene(hospital, clock, stage))
        return scenes[-1]

    async def end():
        for scene in scenes:
            await scene.stage.close()
        everybody = [scene.account(who) for scene in scenes for who in ("patient", "doctor")]

        async def all_have_gone():
            return not await hospital.ctx.bus.is_online(everybody)

        await until(all_have_gone)

    yield begin
    io_loop.run_sync(end, timeout=30)


@pytest.fixture
def short_pause(hospital):
    """A pause that the carrier's simulator, which runs on real time, takes for a clock a little ahead."""
    live, kept = hospital.ctx.policy, replace(hospital.settings.policy)
    live.take(replace(kept, notice_pause_seconds=120))
    yield 120
    live.take(kept)


async def test_many_messages_are_one_notice_and_the_next_comes_after_the_pause(hospital, clock, scene_of):
    scene = await scene_of(permissions=5)
    await scene.leaves()
    await scene.says(SAID, "还有一件事", "记得回复")
    await scene.is_owed()
    assert await scene.got() == (0, 0)
    await scene.after(10)
    assert await scene.got() == (1, 0)
    await scene.says("您看到了吗")
    await scene.is_owed()
    await scene.after(PAUSE - 60)
    assert await scene.got() == (1, 0)
    await scene.after(60)
    assert await scene.got() == (2, 0)


async def test_who_allowed_nothing_gets_a_text_message(hospital, clock, scene_of):
    scene = await scene_of()
    await scene.leaves()
    await scene.says(SAID)
    await scene.is_owed()
    await scene.after(10)
    assert await scene.got() == (0, 1)
    assert (await scene.notice())["outcome"] | {"at": None} == {"channel": "sms", "outcome": "sent", "at": None}


async def test_a_used_up_permission_is_followed_by_a_text_message(scene_of, short_pause):
    scene = await scene_of(permissions=1)
    await scene.leaves()
    await scene.says(SAID)
    await scene.is_owed()
    await scene.after(10)
    await scene.says("还有一件事")
    await scene.is_owed()
    await scene.after(short_pause)
    assert await scene.got() == (1, 1)


async def test_who_is_online_is_owed_nothing(hospital, clock, scene_of):
    scene = await scene_of(permissions=5)
    await scene.says(SAID)
    await scene.stage.lines["patient"].next_event("message.created", body={"text": SAID})
    await scene.stage.doctor.post(f"/visits/{scene.visit}/complete")
    await scene.stage.lines["patient"].next_event("visit.updated", status="completed")
    await scene.after(PAUSE)
    assert await scene.notice() is None
    assert await scene.got() == (0, 0)


async def test_who_comes_back_in_time_gets_none(hospital, clock, scene_of):
    scene = await scene_of(permissions=5)
    await scene.leaves()
    await scene.says(SAID)
    await scene.is_owed()
    scene.stage.lines["patient"] = await scene.stage.patient.connect()
    await scene.after(10)
    assert (await scene.notice())["status"] == "quiet"
    assert await scene.got() == (0, 0)


async def test_who_has_read_it_in_the_meantime_gets_none(hospital, clock, scene_of):
    scene = await scene_of(permissions=5)
    await scene.leaves()
    await scene.says(SAID)
    await scene.is_owed()
    line = scene.stage.lines["patient"] = await scene.stage.patient.connect()
    last = (await scene.stage.patient.get(f"/visits/{scene.visit}/messages"))["last_seq"]
    await line.request("message.read", conversation=scene.visit, seq=last)
    await scene.leaves()
    await hospital.ctx.journal.marks.write()
    await scene.after(10)
    assert (await scene.notice())["status"] == "quiet"
    assert await scene.got() == (0, 0)


async def test_what_is_said_while_the_pause_runs_is_not_forgotten_when_the_first_was_read(hospital, clock, scene_of):
    scene = await scene_of(permissions=5)
    await scene.leaves()
    await scene.says(SAID)
    await scene.is_owed()
    await scene.after(10)
    line = scene.stage.lines["patient"] = await scene.stage.patient.connect()
    last = (await scene.stage.patient.get(f"/visits/{scene.visit}/messages"))["last_seq"]
    await line.request("message.read", conversation=scene.visit, seq=last)
    await scene.leaves()
    await hospital.ctx.journal.marks.write()
    await scene.says("补充一点")
    await scene.is_owed()
    await scene.after(PAUSE)
    assert await scene.got() == (2, 0)


async def test_the_doctor_who_is_away_is_told_of_a_new_paid_visit_by_text_message(hospital, clock, scene_of):
    scene = await scene_of(submitted)
    before = await hospital.outside.text_messages(DOCTORS_PHONE, "staff_notice")
    order, patient = scene.stage.found["visit"]["order"]["id"], scene.stage.patient
    await patient.post(f"/orders/{order}/payment", {"channel": "wechat_jsapi"}, key=fresh_key())
    await hospital.outside.pay(order)
    await scene.is_owed("doctor")
    await scene.after(10)
    assert await hospital.outside.text_messages(DOCTORS_PHONE, "staff_notice") == before + 1
    assert (await scene.notice("patient")) is None


async def test_the_patient_who_is_away_is_told_that_the_visit_moved_and_of_nothing_more_in_the_pause(
    hospital, clock, scene_of
):
    scene = await scene_of(waiting, permissions=5)
    await scene.leaves()
    await scene.stage.doctor.post(f"/visits/{scene.visit}/accept")
    await scene.is_owed()
    await scene.after(10)
    assert await scene.got() == (1, 0)
    await scene.says(SAID)
    await scene.stage.doctor.post(f"/visits/{scene.visit}/complete")
    await scene.is_owed()
    await scene.after(PAUSE - 60)
    assert await scene.got() == (1, 0)
    await scene.after(60)
    assert await scene.got() == (2, 0)


@pytest.mark.parametrize("act", ["decline", "refund"])
async def test_the_patient_who_is_away_is_told_of_a_refusal_and_of_a_refund(hospital, clock, scene_of, act):
    scene = await scene_of(waiting, permissions=5)
    await scene.leaves()
    await scene.stage.doctor.post(f"/visits/{scene.visit}/{act}", {"reason": "今日停诊"}, key=fresh_key())
    await scene.is_owed()
    await scene.after(10)
    assert await scene.got() == (1, 0)


async def test_two_workers_tell_it_once(hospital, clock, scene_of):
    scenes = [await scene_of(permissions=5) for _ in range(2)]
    for scene in scenes:
        await scene.leaves()
        await scene.says(SAID)
        await scene.is_owed()
    other = await serving.start(replace(hospital.settings, listen_port=0), "worker", clock=clock)
    clock.step(10)
    runners = [hospital.ctx.duties, other.ctx.duties] * 4
    await asyncio.gather(*(runner.run_due() for runner in runners))
    for scene in scenes:
        await scene.after(1)
        assert await scene.got() == (1, 0)
    await other.stop()


async def test_a_notice_holds_no_name_no_illness_and_nothing_that_was_said(hospital, clock, scene_of):
    scene = await scene_of(permissions=5)
    await scene.leaves()
    await scene.says(SAID)
    await scene.is_owed()
    await scene.after(10)
    (message,) = await hospital.outside.subscribe_messages(scene.phone)
    china = message["data"].pop("time3")
    assert (message["template"], message["page"]) == ("notice", f"pages/index/index?visit={scene.visit}")
    assert message["data"] == {"thing1": "您有一条新消息", "thing2": "请打开小程序查看"}
    assert datetime.strptime(china, "%Y-%m-%d %H:%M")
    shown = json.dumps(message, ensure_ascii=False) + json.dumps(rules.MATTERS, ensure_ascii=False)
    doctor = scene.stage.found["doctor"]
    for secret in (SAID, "演示家属", doctor["name"], doctor["department"]["name"], "胸闷", "药", "病", "诊", "检查"):
        assert secret not in shown


async def test_a_disabled_account_gets_none(hospital, clock, scene_of):
    scene = await scene_of(permissions=5)
    await scene.leaves()
    await scene.says(SAID)
    await scene.is_owed()
    await hospital.ctx.accounts.call_back(scene.account("patient"), "disabled", clock.now())
    await scene.after(10)
    assert (await scene.notice())["status"] == "quiet"
    assert await scene.got() == (0, 0)


async def test_nobody_is_told_of_their_own_message(hospital, clock, scene_of):
    scene = await scene_of()
    await scene.leaves("doctor")
    await scene.says("医生您好", who="patient")
    await scene.is_owed("doctor")
    await scene.leaves("patient")
    await scene.after(10)
    assert await scene.notice("patient") is None
    assert (await scene.notice("doctor"))["outcome"]["channel"] == "sms"
