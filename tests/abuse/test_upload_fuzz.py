"""Uploads of broken, changed and mislabelled files: taken or refused as documented, and a refusal leaves nothing."""

import io
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scripts.acting import Person
from scripts.story import clip, picture
from tests.abuse.asking import QUICKLY
from tests.abuse.listening import listening
from tests.people import new_phone

REFUSALS = {(413, "too_large"), (415, "unsupported_media"), (422, "invalid")}
MIMES = st.just("application/octet-stream") | st.sampled_from(
    [
        "image/jpeg",
        "image/png",
        "video/mp4",
        "application/pdf",
        "application/octet-stream",
        "text/html",
        "image/svg+xml",
        "application/json; charset=x",
        "",
        "a",
        "image/",
        "x/" * 200,
    ]
)
MAGIC = (
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"RIFF\x10\x00\x00\x00WEBP",
    b"%PDF-1.7\n",
    b"\x1aE\xdf\xa3",
)


def sample(format_: str) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((24, 16)).convert("RGB").save(buffer, format_)
    return buffer.getvalue()


SAMPLES = (picture(32, 24), sample("PNG"), sample("GIF"), sample("WEBP"), clip(0.2), b"%PDF-1.4\n%%EOF\n")


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A file with bytes exchanged, cut short, or with another one behind it."""
    whole = draw(st.sampled_from(SAMPLES))
    spoiled = bytearray(whole)
    for _ in range(draw(st.sampled_from([0, 0, 1, 6]))):
        spoiled[draw(st.integers(0, len(spoiled) - 1))] = draw(st.integers(0, 255))
    kept = bytes(spoiled[: draw(st.just(len(spoiled)) | st.integers(0, len(spoiled)))])
    return kept + draw(st.just(b"") | st.sampled_from(SAMPLES) | st.just(b"<script>alert(1)</script>"))


ANY_FILE = (
    changed() | st.binary(max_size=300) | st.builds(bytes.__add__, st.sampled_from(MAGIC), st.binary(max_size=300))
)


@pytest.fixture(scope="module")
def patient(io_loop, hospital) -> Person:
    return io_loop.run_sync(lambda: hospital.person().login_by_wechat(hospital.outside, new_phone()), timeout=20)


def test_any_bytes_of_any_type_are_taken_or_refused_and_a_refusal_leaves_nothing(io_loop, hospital, patient):
    answers: Counter[tuple[int, str]] = Counter()
    db = hospital.ctx.store.db

    async def send(content: bytes, mime: str) -> None:
        answer = await patient.send("POST", "/media", content=content, headers={"Content-Type": mime})
        said = answer.json()
        answers[answer.status_code, said.get("code", "")] += 1
        if answer.status_code != 201:
            assert (answer.status_code, said["code"]) in REFUSALS, said
            return
        read = await patient.send("GET", f"/media/{said['id']}")
        assert (read.status_code, read.headers["Content-Type"]) == (200, said["mime"])
        assert len(read.content) == said["size"]
        assert b"<script>" not in read.content or said["kind"] != "image"

    @settings(QUICKLY, max_examples=60)
    @given(content=ANY_FILE, mime=MIMES)
    def upload(content: bytes, mime: str) -> None:
        io_loop.run_sync(lambda: send(content, mime), timeout=30)

    async def left() -> tuple[int, int]:
        """Media of this person, and how many of them are not finished."""
        media = await db["media"].find({"owner": patient.account["id"]}).to_list(None)
        return len(media), sum(one["status"] != "ready" for one in media)

    with listening() as heard:
        upload()
    assert heard.errors == []
    taken = answers[201, ""]
    assert 0 < taken < 60
    assert io_loop.run_sync(left) == (taken, 0)
