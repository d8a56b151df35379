"""Keys of tokens and of field encryption changed step by step, by processes that hold different sets, while they serve.

The steps are those of docs/operations.md: first every process learns the new key, then they use it one after the other,
then what is stored is sealed anew, then the old key is withdrawn.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import jwt
import pytest

from app import serving
from scripts import rekey
from scripts.acting import Person, Refused
from scripts.demo.load import load
from storage.encryption import FieldCipher
from storage.rekeying import rekey as seal_anew
from tests.hospital import TestHospital, key, open_test_hospital
from tests.people import in_progress, new_phone

OLD, NEW = "2026-1", "2026-2"
KEYS = {OLD: key("o"), NEW: key("n")}


def holding(*ids: str, using: str):
    """Both sets of keys, as settings: these ids, of which one signs and seals."""
    keys = json.dumps({one: KEYS[one] for one in ids})
    return {"token_keys": keys, "token_key": using, "field_keys": keys, "field_key": using}


@pytest.fixture(scope="module")
def rotated(io_loop, mongo_uri, redis_url, tmp_path_factory):
    """A hospital under the old key alone."""
    folder = tmp_path_factory.mktemp("rotated")
    opened = open_test_hospital(mongo_uri, redis_url, "rotated", folder, **holding(OLD, using=OLD))
    running = io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: load(running.ctx, production=False), timeout=120)
    yield running
    io_loop.run_sync(running.ctx.store.drop, timeout=60)
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@asynccontextmanager
async def process(hospital: TestHospital, **keys: str) -> AsyncIterator[str]:
    """The address of one more process, with these keys."""
    running = await serving.start(replace(hospital.settings, listen_port=0, **keys), "all")
    try:
        yield f"http://127.0.0.1:{running.port}"
    finally:
        await running.stop()


def at(url: str, person: Person) -> Person:
    """The same person, asking there with the same tokens."""
    there = Person(person._http, url)
    there.token, there.refresh_token, there.account = person.token, person.refresh_token, person.account
    return there


def key_of(person: Person) -> str:
    """Under which the person's token is."""
    return str(jwt.get_unverified_header(person.token)["kid"])


async def reads_everything(url: str, stage) -> None:
    """Patient and doctor read there what was sealed wherever."""
    visit, family = stage.found["visit"]["id"], stage.found["patient"]["id"]
    patient, doctor = at(url, stage.patient), at(url, stage.doctor)
    assert (await patient.get("/me"))["id"] == stage.patient.account["id"]
    assert (await patient.get(f"/patients/{family}"))["name"] == "演示家属"
    assert (await doctor.get(f"/visits/{visit}"))["patient"]["name"] == "演示家属"
    assert [one["id"] for one in (await doctor.get("/visits", q="演示家属"))["items"]][:1] == [visit]
    said = (await patient.get(f"/visits/{visit}/messages"))["items"]
    assert [one["body"] for one in said if one["kind"] == "text"] == stage.found["said"]


async def says(url: str, stage, text: str) -> None:
    """A message by a socket there."""
    line = await at(url, stage.patient).connect()
    await line.say(stage.found["visit"]["id"], text)
    await line.close()
    stage.found["said"].append({"text": text})


async def sealed_under(hospital: TestHospital, key_id: str) -> int:
    """How many texts of the whole database are under a key."""
    database, found = hospital.ctx.store.db, 0
    for name in await database.list_collection_names():
        found += sum(repr(one).count(f"'v1.{key_id}.") for one in await database[name].find({}).to_list(None))
    return found


@pytest.mark.rule("R6-4")
@pytest.mark.rule("R6-5")
@pytest.mark.gen_test(timeout=110)
async def test_keys_are_changed_step_by_step_and_everybody_reads_everything_at_each_step(rotated):
    stage = await in_progress(rotated)
    await stage.close()
    stage.found["said"] = []
    phone = new_phone()
    comes_back = await rotated.person().login_by_wechat(rotated.outside, phone)
    first = rotated.url
    await says(first, stage, "第一步之前")

    # 1. The new key is known, the old one used: nobody seals what the one that knows only the old could not read.
    async with process(rotated, **holding(OLD, NEW, using=OLD)) as told:
        await says(told, stage, "第一步")
        for url in (first, told):
            await reads_everything(url, stage)

        # 2. One uses the new key already, the other not yet.
        async with process(rotated, **holding(OLD, NEW, using=NEW)) as ahead:
            await says(ahead, stage, "第二步")
            old = await Person(rotated.http, told).login_by_wechat(rotated.outside, new_phone())
            new = await Person(rotated.http, ahead).login_by_wechat(rotated.outside, new_phone())
            assert (key_of(old), key_of(new)) == (OLD, NEW)
            for url in (told, ahead):
                await reads_everything(url, stage)
                assert [(await at(url, one).get("/me"))["id"] for one in (old, new)] == [
                    old.account["id"],
                    new.account["id"],
                ]
            # The blind index is under neither: the same phone is the same account.
            again = await Person(rotated.http, ahead).login_by_wechat(rotated.outside, phone)
            assert again.account["id"] == comes_back.account["id"]

    # 3. All use the new key; what is stored is sealed anew while people write.
    settings = replace(rotated.settings, **holding(OLD, NEW, using=NEW))
    async with process(rotated, **holding(OLD, NEW, using=NEW)) as url:
        assert await sealed_under(rotated, OLD) > 20
        await cut_off(rotated, stage)
        await asyncio.gather(rekey.run(settings), writes(url, stage))
        await reads_everything(url, stage)
        assert await sealed_under(rotated, OLD) == 0
        assert {counts.fields for counts in (await rekey.run(settings)).values()} == {0}

    # 4. The old key is withdrawn: its tokens end, the sessions they stood on do not.
    async with process(rotated, **holding(NEW, using=NEW)) as url:
        with pytest.raises(Refused) as refused:
            await at(url, stage.patient).get("/me")
        assert refused.value.code == "unauthenticated"
        for person in (stage.patient, stage.doctor):
            renewed = await at(url, person).post("/auth/refresh", {"refresh_token": person.refresh_token})
            person.token, person.refresh_token = renewed["access_token"], renewed["refresh_token"]
            assert key_of(person) == NEW
        await reads_everything(url, stage)
        again = await Person(rotated.http, url).login_by_wechat(rotated.outside, phone)
        assert again.account["id"] == comes_back.account["id"]


class CutOff(Exception):
    """The process that seals anew is killed."""


async def cut_off(hospital: TestHospital, stage) -> None:
    """A run that dies after a few fields leaves what it did done, and everything readable."""

    class Dying(FieldCipher):
        left = 5

        def seal(self, text: str, *, field: str) -> str:
            if not self.left:
                raise CutOff
            self.left -= 1
            return super().seal(text, field=field)

    keys = {one: base64.b64decode(value) for one, value in KEYS.items()}
    before = await sealed_under(hospital, OLD)
    with pytest.raises(CutOff):
        await seal_anew(hospital.ctx.store, Dying(keys, NEW, b"b" * 32), batch=2)
    assert await sealed_under(hospital, OLD) == before - 5


async def writes(url: str, stage) -> None:
    """What people write meanwhile is not lost."""
    patient, family = at(url, stage.patient), stage.found["patient"]["id"]
    for number in range(10):
        await patient.call("PATCH", "/me", {"name": f"称呼{number}"})
        await patient.call("PATCH", f"/patients/{family}", {"phone": f"1990009{number:04d}"})
        await says(url, stage, f"同时{number}")
        await reads_everything(url, stage)
    assert (await patient.get("/me"))["name"] == "称呼9"
    assert (await patient.get(f"/patients/{family}"))["phone"] == "199****0009"
