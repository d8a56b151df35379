import asyncio
import contextlib
import hashlib
import json
import os

import pytest
from structlog.testing import capture_logs

from core import tasks
from core.auth import ROLES
from core.http import DRAINED_BODY
from core.ids import new_id
from core.media import service
from core.policy import MIB
from tests.core.media import making
from tests.core.media.conftest import NOTHING, caller_of, left_in, until, upload, with_policy

PAGE = b"<html><script>alert(1)</script></html>"


def problem_of(answer) -> tuple[int, str, str]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    said = answer.json()
    return answer.status_code, said["code"], said["detail"]


def in_pieces(data: bytes, length: int = 30_000):
    async def pieces():
        for start in range(0, len(data), length):
            yield data[start : start + length]

    return pieces()


# --- uploading ---------------------------------------------------------------------------------------------------


@pytest.mark.feature("P1.3")
@pytest.mark.gen_test(timeout=20)
async def test_a_patient_uploads_several_pictures_and_sees_them(api, patient):
    reports = [making.a_jpeg(900, 600, orientation=8), making.a_png(500, 700), making.a_webp()]
    for sent, mime in zip(reports, ("image/jpeg", "image/png", "image/webp"), strict=True):
        answer = await api.post(patient, sent, mime)
        told = answer.json()
        assert answer.status_code == 201
        assert (told["kind"], told["mime"], told["duration"]) == ("image", mime, None)
        shown = await api.get(f"/media/{told['id']}", patient)
        assert (told["size"], told["sha256"]) == (len(shown.content), hashlib.sha256(shown.content).hexdigest())
        assert making.opened(shown.content).size == (told["width"], told["height"])
        thumbnail = await api.get(told["thumbnail"], patient)
        assert thumbnail.headers["Content-Type"] == "image/jpeg"
        assert max(making.opened(thumbnail.content).size) <= 320
        assert not making.opened(shown.content).getexif()


@pytest.mark.gen_test
async def test_the_answer_has_exactly_what_is_promised(api, ctx, patient):
    told = (await api.post(patient, making.a_jpeg())).json()
    assert told == {
        "id": told["id"],
        "kind": "image",
        "mime": "image/jpeg",
        "size": told["size"],
        "sha256": told["sha256"],
        "width": 64,
        "height": 48,
        "duration": None,
        "thumbnail": f"/api/v1/media/{told['id']}/thumbnail",
    }
    assert (await ctx.media.get(told["id"]))["owner"] == patient.id


@pytest.mark.feature("P1.8")
@pytest.mark.gen_test(timeout=20)
async def test_a_video_is_taken_in_chunks_without_a_length(api, patient):
    answer = await api.post(patient, in_pieces(making.a_video("mov"), 1_000), "video/quicktime")
    told = answer.json()
    assert (answer.status_code, told["kind"], told["mime"]) == (201, "video", "video/mp4")
    assert told["duration"] == pytest.approx(1.0, abs=0.05)
    assert making.opened((await api.get(told["thumbnail"], patient)).content).size == (160, 120)
    assert making.PLACE not in (await api.get(f"/media/{told['id']}", patient)).content


@pytest.mark.gen_test
async def test_every_role_may_upload(api):
    for role in ROLES:
        answer = await api.post(caller_of(role), making.PDF, "application/pdf")
        assert (answer.status_code, answer.json()["kind"]) == (201, "file")


@pytest.mark.gen_test
async def test_the_work_is_done_outside_the_server(api, ctx, patient):
    assert (await api.post(patient, making.a_jpeg())).status_code == 201
    assert ctx.workshop.children
    assert os.getpid() not in ctx.workshop.children


@pytest.mark.feature("P1.3")
@pytest.mark.parametrize(
    ("data", "mime", "refusal"),
    [
        (b"", "image/jpeg", (422, "invalid", "文件内容为空")),
        (PAGE, "image/jpeg", (415, "unsupported_media", None)),
        (making.a_jpeg(), "video/mp4", (415, "unsupported_media", "文件内容与声明的类型不一致")),
        (making.a_jpeg(), "text/html", (415, "unsupported_media", "文件内容与声明的类型不一致")),
        (making.HEIC, "image/heic", (415, "unsupported_media", None)),
        (making.a_video("mp4", video="mpeg4", audio=None), "video/mp4", (415, "unsupported_media", None)),
        (making.a_jpeg()[:700], "image/jpeg", (422, "invalid", "图片已损坏或不完整，无法读取")),
        (making.a_video()[:2_000], "video/mp4", (422, "invalid", "视频已损坏或不完整，无法读取")),
        (making.a_png_bomb(), "image/png", (422, "invalid", "图片尺寸过大")),
        (making.a_jpeg() + bytes(MIB), "image/jpeg", (413, "too_large", "图片不能超过 1 MB")),
        (making.a_video() + bytes(2 * MIB), "video/mp4", (413, "too_large", "文件不能超过 2 MB")),
    ],
    ids=["empty", "page", "kind", "mime", "heic", "codec", "cut image", "cut video", "bomb", "image", "video"],
)
@pytest.mark.gen_test
async def test_a_refusal_says_why_and_leaves_nothing(api, ctx, patient, data, mime, refusal):
    for body in (data, in_pieces(data)):
        status, code, detail = problem_of(await api.post(patient, body, mime))
        assert (status, code) == refusal[:2]
        # By its length alone nobody knows yet what it is.
        assert refusal[2] is None or detail == refusal[2] or "不能超过" in detail
        assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_the_connection_is_good_for_more_after_a_small_refusal(api, patient):
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    for body, status in ((PAGE + bytes(200_000), b"415"), (making.a_jpeg(), b"201")):
        writer.write(_head(api, patient, len(body)) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.split()[1] == status
        await reader.readexactly(_length_of(head))
    writer.close()
    await writer.wait_closed()


def _head(api, caller, length: int | None, **more: str) -> bytes:
    lines = {"Host": "x", "Content-Type": "image/jpeg", **api.bearer(caller), **more}
    lines |= {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    said = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST /api/v1/media HTTP/1.1\r\n{said}\r\n".encode()


def _length_of(head: bytes) -> int:
    (line,) = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return int(line.split(b":")[1])


@pytest.mark.parametrize("length", [2 * MIB + 1, DRAINED_BODY + 1, 300 * MIB, 10**18])
@pytest.mark.gen_test
async def test_too_large_an_announcement_is_refused_before_a_byte_is_sent(api, ctx, patient, length):
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(_head(api, patient, length, Expect="100-continue"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] == b"413"
    assert json.loads(await reader.readexactly(_length_of(head)))["detail"] == "文件不能超过 2 MB"
    writer.close()
    await writer.wait_closed()
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_an_image_announced_too_large_is_refused_with_its_first_bytes(api_of, ctx, patient):
    api = api_of(with_policy(ctx, media_video_bytes=100 * MIB))
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(_head(api, patient, 90 * MIB) + making.a_jpeg() + bytes(10_000))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] == b"413"
    assert json.loads(await reader.readexactly(_length_of(head)))["detail"] == "图片不能超过 1 MB"
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    assert await left_in(ctx) == NOTHING


async def _until_empty(ctx) -> None:
    async def is_empty() -> bool:
        return await left_in(ctx) == NOTHING and "media.abandon" not in tasks.running()

    await until(is_empty)


async def _until_stored(ctx, name: str, count: int) -> None:
    async def is_stored() -> bool:
        return (await left_in(ctx))[name] >= count

    await until(is_stored)


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.gen_test(timeout=20)
async def test_a_client_that_goes_away_in_the_middle_leaves_nothing(api, ctx, patient, announced):
    sent = making.a_jpeg() + bytes(600_000)
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    body = sent if announced else f"{len(sent):x}\r\n".encode() + sent + b"\r\n"
    writer.write(_head(api, patient, len(sent) + 5_000 if announced else None) + body)
    await _until_stored(ctx, "files.chunks", 2)
    with capture_logs() as logs:
        writer.close()
        await writer.wait_closed()
        await _until_empty(ctx)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


@pytest.mark.gen_test
async def test_a_client_that_goes_away_before_its_answer_leaves_nothing(api, ctx, patient):
    data = making.a_jpeg(1000, 1000)
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(_head(api, patient, len(data)) + data)
    await _until_stored(ctx, "files.files", 1)
    writer.close()
    await writer.wait_closed()
    await _until_empty(ctx)


@pytest.mark.gen_test
async def test_nobody_uploads_without_logging_in(api, ctx):
    assert problem_of(await api.post(None, making.a_jpeg()))[:2] == (401, "unauthenticated")
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_uploads_of_an_account_are_counted(api_of, ctx, patient, doctor):
    api = api_of(with_policy(ctx, uploads_per_hour=2))
    codes = [(await api.post(patient, making.PDF, "application/pdf")).status_code for _ in range(3)]
    assert codes == [201, 201, 429]
    assert (await api.post(doctor, making.PDF, "application/pdf")).status_code == 201


@pytest.mark.gen_test
async def test_the_store_away_is_told_as_unavailable(api_of, ctx, patient, monkeypatch):
    from storage.mongo import STORE_AWAY

    async def away(*_, **__):
        raise STORE_AWAY[0]("gone")

    monkeypatch.setattr(type(ctx.files), "open_upload", away)
    status, code, _ = problem_of(await api_of(ctx).post(patient, making.a_jpeg()))
    assert (status, code) == (503, "unavailable")


@pytest.mark.gen_test
async def test_logs_carry_neither_content_nor_signature(api, ctx, patient):
    with capture_logs() as logs:
        told = (await api.post(patient, making.a_jpeg())).json()
        link = await service.link(ctx, media_id=told["id"], account=patient.id, variant="original")
        assert (await api.get(link["url"])).status_code == 200
    assert making.MARK not in str(logs)
    assert link["url"].rpartition("signature=")[2] not in str(logs)


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.fixture
def image(io_loop, ctx, patient):
    """A medium of the patient's, larger than two chunks of the store."""
    noise = making.encoded(making.Image.frombytes("RGB", (450, 450), os.urandom(450 * 450 * 3)), "PNG")
    return io_loop.run_sync(lambda: upload(ctx, noise, owner=patient.id))


@pytest.fixture
def whole(io_loop, ctx, image) -> bytes:
    return io_loop.run_sync(lambda: ctx.files.read(image["_id"]))


@pytest.mark.gen_test
async def test_only_those_concerned_find_it(api, ctx, image, patient, doctor):
    paths = [f"/media/{image['_id']}", f"/media/{image['_id']}/thumbnail"]
    for path in paths:
        assert (await api.get(path, patient)).status_code == 200
        assert problem_of(await api.get(path, doctor))[:2] == (404, "not_found")
        assert problem_of(await api.get(path))[:2] == (401, "unauthenticated")
    await service.attach(
        ctx, media_ids=[image["_id"]], owner=patient.id, visit_id="v", readers=[doctor.id], kinds=["image"]
    )
    for path in paths:
        assert (await api.get(path, doctor)).status_code == 200
        for role in ROLES:
            assert (await api.get(path, caller_of(role))).status_code == 404
    assert (await api.get(f"/media/{new_id()}", patient)).status_code == 404


@pytest.mark.gen_test
async def test_headers_keep_content_from_being_a_page(api, image, whole, patient):
    answer = await api.get(f"/media/{image['_id']}", patient)
    assert answer.content == whole
    headers = dict(answer.headers)
    assert {name: headers.get(name) for name in _HEADERS} == {
        "content-type": "image/png",
        "content-length": str(len(whole)),
        "content-disposition": f'inline; filename="{image["_id"]}.png"',
        "accept-ranges": "bytes",
        "etag": f'"{image["sha256"]}"',
        "cache-control": "private, max-age=3600",
        "vary": "Authorization",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
        "cross-origin-resource-policy": "same-site",
        "content-range": None,
    }


_HEADERS = [
    "content-type",
    "content-length",
    "content-disposition",
    "accept-ranges",
    "etag",
    "cache-control",
    "vary",
    "x-content-type-options",
    "content-security-policy",
    "cross-origin-resource-policy",
    "content-range",
]


POLYGLOTS = {
    "jpeg and page": (making.a_polyglot, "image/jpeg"),
    "gif and archive": (making.a_gifar, "image/gif"),
    "png and page": (making.a_page_in_a_png, "image/png"),
    "webp and archive": (making.a_page_in_a_webp, "image/webp"),
    "mp4 and page": (making.a_page_in_an_mp4, "video/mp4"),
    "pdf and script": (making.a_pdf_with_a_script, "application/pdf"),
}


@pytest.mark.parametrize("polyglot", POLYGLOTS)
@pytest.mark.gen_test(timeout=20)
async def test_what_is_two_things_at_once_is_served_as_one_and_never_as_a_page(api, patient, polyglot):
    make, mime = POLYGLOTS[polyglot]
    data = make()
    assert b"<script>" in data
    told = (await api.post(patient, data, mime)).json()
    answers = [await api.get(path, patient) for path in (f"/media/{told['id']}", told["thumbnail"]) if path]
    answers.append(await api.get(await a_link(api, told["id"], patient)))
    for answer in answers:
        headers = answer.headers
        assert answer.status_code == 200
        assert headers["Content-Type"] in (mime, "image/jpeg")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
        # A document is kept as it came, for the doctor to save: the browser is told not to open it.
        shown, _, _ = headers["Content-Disposition"].partition(";")
        assert shown == ("attachment" if mime == "application/pdf" else "inline")
        if mime != "application/pdf":
            assert [
                word for word in (b"<script>", b"<html", b"PK\x03\x04", b"PK\x05\x06") if word in answer.content
            ] == []


@pytest.mark.parametrize(
    "page",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<?xml version='1.0'?><svg/>",
        b"PK\x03\x04",
        PAGE,
    ],
)
@pytest.mark.gen_test
async def test_pages_drawings_and_archives_are_refused_whatever_they_are_called(api, ctx, patient, page):
    for mime in ("image/svg+xml", "image/jpeg", "application/pdf", "application/octet-stream", "text/html"):
        assert problem_of(await api.post(patient, page, mime))[:2] == (415, "unsupported_media")
    assert await left_in(ctx) == NOTHING


@pytest.mark.gen_test
async def test_a_file_is_saved_not_shown(api, ctx, patient):
    media = await upload(ctx, making.PDF, owner=patient.id)
    answer = await api.get(f"/media/{media['_id']}", patient)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{media["_id"]}.pdf"'
    assert (await api.get(f"/media/{media['_id']}/thumbnail", patient)).status_code == 404


@pytest.mark.gen_test
async def test_parts_are_served_exactly(api, image, whole, patient):
    size, chunk = len(whole), 255 * 1024
    spans = [
        (0, 0),
        (0, 1),
        (chunk - 1, chunk),
        (chunk, chunk),
        (1000, 2 * chunk + 5),
        (size - 1, size - 1),
        (0, size - 1),
    ]
    asked = {f"bytes={first}-{last}": (first, last) for first, last in spans}
    asked |= {f"bytes={size - 7}-": (size - 7, size - 1), "bytes=-7": (size - 7, size - 1)}
    asked |= {f"bytes=5-{size * 2}": (5, size - 1), f"bytes=-{size * 2}": (0, size - 1)}
    for header, (first, last) in asked.items():
        answer = await api.get(f"/media/{image['_id']}", patient, Range=header)
        assert answer.status_code == 206
        assert answer.content == whole[first : last + 1]
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
        assert answer.headers["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=9-3", "items=0-1", "bytes=x-", "bytes=-"])
@pytest.mark.gen_test
async def test_what_is_not_one_range_gets_the_whole(api, image, whole, patient, header):
    answer = await api.get(f"/media/{image['_id']}", patient, Range=header)
    assert (answer.status_code, answer.content) == (200, whole)
    assert "Content-Range" not in answer.headers


@pytest.mark.gen_test
async def test_a_range_outside_is_told_the_size(api, image, whole, patient):
    for header in (f"bytes={len(whole)}-", "bytes=-0", "bytes=999999999999-"):
        answer = await api.get(f"/media/{image['_id']}", patient, Range=header)
        assert problem_of(answer)[:2] == (416, "range_not_satisfiable")
        assert answer.headers["Content-Range"] == f"bytes */{len(whole)}"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.gen_test
async def test_a_current_copy_is_not_sent_again(api, image, whole, patient):
    path, tag = f"/media/{image['_id']}", f'"{image["sha256"]}"'
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = await api.get(path, patient, If_None_Match=given, Range="bytes=0-5")
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
    answer = await api.get(path, patient, If_None_Match='"other"')
    assert (answer.status_code, answer.content) == (200, whole)


@pytest.mark.gen_test
async def test_a_range_of_another_file_than_begun_gets_the_whole(api, image, whole, patient):
    path, tag = f"/media/{image['_id']}", f'"{image["sha256"]}"'
    for given, status in ((tag, 206), (f"W/{tag}", 200), ('"other"', 200), ("Wed, 21 Oct 2026 07:28:00 GMT", 200)):
        answer = await api.get(path, patient, Range="bytes=0-5", If_Range=given)
        assert (answer.status_code, answer.content) == (status, whole[:6] if status == 206 else whole)


@pytest.mark.gen_test
async def test_head_tells_the_same_without_the_bytes(api, image, whole, patient):
    for path in (f"/media/{image['_id']}", f"/media/{image['_id']}/thumbnail"):
        got = await api.get(path, patient)
        answer = await api.call("HEAD", path, patient, headers={"Range": "bytes=0-5"})
        assert (answer.status_code, answer.content) == (200, b"")
        ignored = {"date", "x-request-id"}
        assert {name: value for name, value in answer.headers.items() if name not in ignored} == {
            name: value for name, value in got.headers.items() if name not in ignored
        }


@pytest.mark.gen_test(timeout=20)
async def test_a_reader_that_goes_away_is_no_error_and_leaves_nothing_running(api, ctx, patient):
    # More than the buffers of both ends hold, so that the server is still sending.
    large = making.PDF + bytes(16 * MIB)
    media = await upload(with_policy(ctx, media_file_bytes=20 * MIB), large, owner=patient.id)
    bearer = api.bearer(patient)["Authorization"]
    with capture_logs() as logs:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        ask = f"GET /api/v1/media/{media['_id']} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n\r\n"
        writer.write(ask.encode())
        assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == b"200"
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await until(lambda: any(entry["event"] == "http.request" for entry in logs))
    assert [entry["event"] for entry in logs] == ["media.reader_gone", "http.request"]
    assert (await api.get(f"/media/{media['_id']}", patient, Range="bytes=-3")).content == bytes(3)


# --- signed links ----------------------------------------------------------------------------------------------------


async def a_link(api, media_id: str, caller, variant: str = "original") -> str:
    answer = await api.call("POST", f"/media/{media_id}/links", caller, json={"variant": variant})
    assert answer.status_code == 200
    assert answer.json()["expires_at"].endswith("Z")
    return answer.json()["url"]


@pytest.mark.gen_test
async def test_a_link_needs_no_token_and_serves_parts(api, image, whole, patient):
    url = await a_link(api, image["_id"], patient)
    assert (await api.get(url)).content == whole
    part = await api.get(url, Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, whole[10:20])
    head = await api.call("HEAD", url)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(whole)))
    thumbnail = await api.get(await a_link(api, image["_id"], patient, "thumbnail"))
    assert thumbnail.headers["Content-Type"] == "image/jpeg"


@pytest.mark.gen_test
async def test_a_link_may_be_cached_only_while_it_holds(api, ctx, image, patient):
    url = await a_link(api, image["_id"], patient)
    ctx.clock.step(200)
    seconds = int((await api.get(url)).headers["Cache-Control"].removeprefix("private, max-age="))
    assert 98 <= seconds <= 100
    ctx.clock.step(101)
    assert problem_of(await api.get(url))[:2] == (403, "forbidden")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("variant=original", "variant=thumbnail"),
        ("account=", "account=X"),
        ("expires=", "expires=1"),
        ("signature=", "signature=x"),
    ],
)
@pytest.mark.gen_test
async def test_a_changed_link_is_refused(api, image, patient, old, new):
    url = await a_link(api, image["_id"], patient)
    assert problem_of(await api.get(url.replace(old, new)))[:2] == (403, "forbidden")


@pytest.mark.gen_test
async def test_a_link_is_for_one_medium(api, ctx, image, patient):
    url = await a_link(api, image["_id"], patient)
    other = await upload(ctx, making.PDF, owner=patient.id)
    assert (await api.get(url.replace(image["_id"], other["_id"]))).status_code == 403


@pytest.mark.gen_test
async def test_half_a_link_is_invalid(api, image):
    answer = await api.get(f"/media/{image['_id']}/content?variant=original")
    assert problem_of(answer)[:2] == (422, "invalid")


@pytest.mark.gen_test
async def test_a_link_dies_with_the_right_to_read(api, ctx, image, patient, doctor):
    await service.attach(
        ctx, media_ids=[image["_id"]], owner=patient.id, visit_id="v", readers=[doctor.id], kinds=["image"]
    )
    url = await a_link(api, image["_id"], doctor)
    assert (await api.get(url)).status_code == 200
    await ctx.store.db["media"].update_one({"_id": image["_id"]}, {"$set": {"readers": []}})
    assert problem_of(await api.get(url))[:2] == (404, "not_found")


@pytest.mark.gen_test
async def test_strangers_get_no_link(api, image, doctor):
    answer = await api.call("POST", f"/media/{image['_id']}/links", doctor, json={})
    assert problem_of(answer)[:2] == (404, "not_found")
    answer = await api.call("POST", f"/media/{image['_id']}/links", json={})
    assert problem_of(answer)[:2] == (401, "unauthenticated")
