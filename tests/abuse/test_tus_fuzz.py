"""Resumable uploads with any headers in any order: only documented answers, and nothing is left but finished media."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.wiring import openapi
from core.errors import CODES
from core.ids import new_id
from scripts.acting import Person
from tests.abuse.asking import QUICKLY
from tests.abuse.listening import listening
from tests.abuse.test_upload_fuzz import ANY_FILE, SAMPLES
from tests.people import new_phone

UPLOADS, UPLOAD = "/media/uploads", "/media/uploads/{upload_id}"
OFFSET_STREAM = "application/offset+octet-stream"
NAMES = (
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Metadata",
    "Content-Type",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Checksum",
    "X-HTTP-Method-Override",
    "Content-Encoding",
)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=40) | (
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1.0.0",
            "0.2.2",
            "9" * 16,
            "9" * 400,
            "1e9",
            "٣",
            "1,1",
            "final;/files/a /files/b",
            "sha1 AAAA",
            "filetype aW1hZ2UvanBlZw==",
            "filetype ====",
            "filetype /////w==",
            "a,a,a",
            "k " + "A" * 5000,
            "PATCH",
            "DELETE",
            "gzip",
            OFFSET_STREAM,
        ]
    )
)
CHANGES = st.dictionaries(st.sampled_from(NAMES), st.none() | VALUES, max_size=2)


@dataclass
class Step:
    """One request about an upload: what of the file is sent, from where, and which headers are changed."""

    method: str
    length: int
    astray: int
    changes: dict[str, str | None]


METHODS = st.sampled_from(["PATCH", "PATCH", "PATCH", "PATCH", "HEAD", "GET", "OPTIONS", "DELETE", "POST", "PUT"])
STEPS = st.lists(
    st.builds(
        Step,
        method=METHODS,
        length=st.integers(0, 3000) | st.just(100_000),
        astray=st.just(0) | st.just(0) | st.integers(-3, 3),
        changes=st.just({}) | CHANGES,
    ),
    max_size=6,
)


def documented() -> dict[tuple[str, str], set[int]]:
    """The answers that each operation may give, by path and method."""
    paths = openapi()["paths"]
    return {
        (path, method.upper()): {int(status) for status in one["responses"]}
        for path in (UPLOADS, UPLOAD)
        for method, one in paths[f"/api/v1{path}"].items()
    }


class Abuser:
    """Sends uploads and judges the answers."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.answers: Counter[tuple[str, int]] = Counter()
        self._documented = documented()

    async def ask(self, method: str, path: str, named: dict[str, str | None], content: bytes = b"") -> httpx.Response:
        """One request; its answer is a documented one."""
        headers = {name: said.strip().encode() for name, said in named.items() if said is not None}
        where = path if path == UPLOADS else UPLOAD
        answer = await self.person.send(method, path, headers=headers, content=content)
        meant = said if method == "POST" and (said := named.get("X-HTTP-Method-Override")) else method
        allowed = self._documented.get((where, meant), {405}) | self._documented.get((where, method), {405})
        assert answer.status_code in allowed, (method, named, answer.content)
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        if answer.status_code >= 400 and method != "HEAD":
            assert json.loads(answer.content)["code"] in set(CODES) - {"internal"}
        self.answers[method, answer.status_code] += 1
        return answer

    async def run(self, content: bytes, changes: dict[str, str | None], steps: list[Step]) -> None:
        """One upload from its beginning through all steps; what is not finished then is ended."""
        begun = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(content) or 1), **changes}
        answer = await self.ask("POST", UPLOADS, begun)
        path = answer.headers.get("Location", f"/api/v1{UPLOADS}/{new_id()}").removeprefix("/api/v1")
        at = 0
        for step in steps:
            part = content[at : at + step.length] if step.method == "PATCH" else b""
            named: dict[str, str | None] = {"Tus-Resumable": "1.0.0", **step.changes}
            if step.method == "PATCH":
                named = {"Upload-Offset": str(max(0, at + step.astray)), "Content-Type": OFFSET_STREAM, **named}
            told = await self.ask(step.method, path, named, part)
            at = int(told.headers.get("Upload-Offset", at))
        await self.ask("DELETE", path, {"Tus-Resumable": "1.0.0"})


async def left_of(db: Any, owner: str) -> dict[str, int]:
    """What somebody's uploads have left: media by state, uploads by state, pieces of any of them."""
    counts: Counter[str] = Counter(media=0, pieces=0)
    for medium in await db["media"].find({"owner": owner}).to_list(None):
        counts["media" if medium["status"] == "ready" else medium["status"]] += 1
    for upload in await db["uploads"].find({"owner": owner}).to_list(None):
        counts[f"upload {upload['status']}"] += 1
        counts["pieces"] += len(await db["upload_pieces"].find({"upload": upload["_id"]}, {"_id": 1}).to_list(None))
    return dict(counts)


@pytest.fixture(scope="module")
def patient(io_loop, hospital) -> Person:
    return io_loop.run_sync(lambda: hospital.person().login_by_wechat(hospital.outside, new_phone()), timeout=20)


def test_any_headers_in_any_order_are_answered_as_documented_and_leave_only_finished_media(io_loop, hospital, patient):
    abuser = Abuser(patient)

    @settings(QUICKLY, max_examples=100)
    @given(content=st.sampled_from(SAMPLES) | ANY_FILE, changes=st.just({}) | CHANGES, steps=STEPS)
    def upload(content: bytes, changes: dict[str, str | None], steps: list[Step]) -> None:
        io_loop.run_sync(lambda: abuser.run(content, changes, steps), timeout=30)

    with listening() as heard:
        upload()
    assert heard.errors == []
    assert {status for _, status in abuser.answers} >= {201, 204, 409, 410, 412, 415, 422}
    left = io_loop.run_sync(lambda: left_of(hospital.ctx.store.db, patient.account["id"]))
    assert left["media"] > 0
    assert left["pieces"] == 0
    assert set(left) == {"media", "pieces", "upload discarded"}
