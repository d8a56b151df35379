"""A large file over a bad line: sent in parts, through processes that die, and used only when it is whole."""

import asyncio
import hashlib
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any

import httpx
import pytest

from scripts.acting import Person, Refused, until
from scripts.story import clip
from storage.pieces import PIECE_BYTES
from tests.hospital import TestHospital
from tests.people import fresh_key, in_progress, visit_form

OFFSET_STREAM = "application/offset+octet-stream"
TUS = {"Tus-Resumable": "1.0.0"}


async def begun(person: Person, length: int) -> str:
    """The path of a new upload."""
    answer = await person.send("POST", "/media/uploads", headers={**TUS, "Upload-Length": str(length)})
    assert answer.status_code == 201
    return str(answer.headers["Location"]).removeprefix("/api/v1")


async def patched(person: Person, path: str, offset: int, content: bytes) -> httpx.Response:
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": OFFSET_STREAM}
    return await person.send("PATCH", path, headers=headers, content=content)


async def offset_of(person: Person, path: str) -> int:
    return int((await person.send("HEAD", path, headers=TUS)).headers["Upload-Offset"])


@pytest.mark.feature("P1.3")
@pytest.mark.feature("P1.8")
@pytest.mark.gen_test(timeout=60)
async def test_only_a_finished_upload_of_ones_own_can_be_sent_or_attached(hospital):
    stage = await in_progress(hospital)
    patient, conversation = stage.patient, stage.found["visit"]["conversation"]
    film = clip(0.4)
    path = await begun(patient, len(film))
    await patched(patient, path, 0, film[:-1])
    media = hospital.ctx.store.db["media"]
    before = await media.find({"owner": patient.account["id"]}).to_list(None)

    async def refusals(named: str, line: Any) -> list[str]:
        codes = []
        for ask in (
            line.request("message.send", conversation=conversation, kind="video", body={"media": named}),
            patient.post("/visits", await visit_form(stage, attachments=[named]), key=fresh_key()),
        ):
            with pytest.raises(Refused) as refused:
                await ask
            codes.append(refused.value.code)
        return codes

    unfinished = path.rpartition("/")[2]
    assert await refusals(unfinished, stage.lines["patient"]) == ["not_found", "not_found"]
    assert await media.find({"owner": patient.account["id"]}).to_list(None) == before
    medium = (await patched(patient, path, len(film) - 1, film[-1:])).headers["Upload-Medium"]
    # The upload is not the medium, and a medium is its owner's alone until it is sent.
    assert await refusals(unfinished, stage.lines["patient"]) == ["not_found", "not_found"]
    with pytest.raises(Refused) as refused:
        await stage.lines["doctor"].request(
            "message.send", conversation=conversation, kind="video", body={"media": medium}
        )
    assert refused.value.code == "not_found"
    assert (await stage.doctor.send("GET", f"/media/{medium}")).status_code == 404
    sent = await stage.lines["patient"].request(
        "message.send", conversation=conversation, kind="video", body={"media": medium}
    )
    said = await stage.lines["doctor"].next_event("message.created", seq=sent["seq"])
    assert said["body"] == {"media": medium}
    assert (await stage.doctor.send("GET", f"/media/{medium}")).headers["Content-Type"] == "video/mp4"
    await stage.close()


@asynccontextmanager
async def another_process(hospital: TestHospital) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A process of role api on the hospital's stores: its address, and what may be killed."""
    machine = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    named = {one.name.upper(): str(getattr(hospital.settings, one.name)) for one in fields(hospital.settings)}
    del named["POLICY"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "--role", "api"),
        env=machine | named | {"LISTEN_PORT": "0"},
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stdout is not None
    try:
        said: dict[str, Any] = {}
        async with asyncio.timeout(30):
            while said.get("event") != "app.ready":
                line = await process.stdout.readline()
                assert line, await process.stderr.read()
                said = json.loads(line)
        yield f"http://127.0.0.1:{said['port']}", process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.feature("P1.3")
@pytest.mark.gen_test(timeout=90)
async def test_a_killed_process_loses_no_acknowledged_byte_and_another_goes_on(hospital):
    stage = await in_progress(hospital)
    await stage.close()
    here = stage.patient
    data = b"%PDF-1.7\n" + b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(40_000))
    path = await begun(here, len(data))
    pieces = hospital.ctx.store.db["upload_pieces"]
    async with another_process(hospital) as (url, process), httpx.AsyncClient(timeout=30) as http:
        there = Person(http, url)
        there.token = here.token
        acknowledged = int((await patched(there, path, 0, data[:300_000])).headers["Upload-Offset"])
        assert acknowledged == 300_000

        async def dripping():
            yield data[acknowledged : acknowledged + PIECE_BYTES + 1000]
            await until(is_stored)
            process.kill()
            await process.wait()
            yield data[acknowledged + PIECE_BYTES + 1000 :]

        async def is_stored() -> bool:
            return await pieces.find_one({"upload": path.rpartition("/")[2], "at": acknowledged}) is not None

        with pytest.raises(httpx.TransportError):
            await patched(there, path, acknowledged, dripping())
    assert process.returncode == -9
    assert await offset_of(here, path) == acknowledged + PIECE_BYTES
    answer = await patched(here, path, acknowledged + PIECE_BYTES, data[acknowledged + PIECE_BYTES :])
    told = (await here.send("GET", path, headers=TUS)).json()["medium"]
    assert (told["id"], told["size"]) == (answer.headers["Upload-Medium"], len(data))
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert (await here.send("GET", f"/media/{told['id']}")).content == data
    assert await pieces.find_one({"upload": path.rpartition("/")[2]}) is None
