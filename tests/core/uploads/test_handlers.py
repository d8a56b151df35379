import asyncio
import base64
import hashlib

import pytest
from structlog.testing import capture_logs

from core import tasks
from core.auth import ROLES
from core.ids import new_id
from core.media.rules import largest
from core.policy import MIB
from storage.pieces import PIECE_BYTES
from tests.core.media import making
from tests.core.media.conftest import caller_of, until, with_policy
from tests.core.uploads.resuming import (
    LIMIT,
    NOTHING_LEFT,
    TUS,
    a_document,
    address,
    asked,
    begun,
    cut,
    left_of_uploads,
    offset_of,
    patched,
    said_of,
)


def problem_of(answer) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    return answer.status_code, answer.json()["code"]


@pytest.mark.feature("P1.3")
@pytest.mark.gen_test(timeout=30)
async def test_an_upload_in_parts_becomes_the_medium_that_one_post_would_have_made(api, ctx, patient):
    sent = making.a_jpeg(900, 600, orientation=8)
    whole = (await api.post(patient, sent)).json()
    where = await address(api, patient, len(sent), "image/jpeg")
    for start, stop in ((0, 1), (1, 5000), (5000, len(sent))):
        answer = await patched(api, patient, where, start, sent[start:stop])
        assert (answer.status_code, answer.content, answer.headers["Upload-Offset"]) == (204, b"", str(stop))
        assert ("Upload-Medium" in answer.headers) is (stop == len(sent))
    medium_id = answer.headers["Upload-Medium"]
    told = (await asked(api, "GET", where, patient)).json()
    assert told.pop("expires_at").endswith("Z")
    assert told == {
        "id": where.rpartition("/")[2],
        "status": "ready",
        "length": len(sent),
        "offset": len(sent),
        "medium": whole | {"id": medium_id, "thumbnail": f"/api/v1/media/{medium_id}/thumbnail"},
    }
    served = (await api.get(f"/media/{medium_id}", patient)).content
    assert hashlib.sha256(served).hexdigest() == whole["sha256"]
    assert not making.opened(served).getexif()
    assert (await left_of_uploads(ctx))["pieces"] == 0


@pytest.mark.gen_test
async def test_a_new_upload_tells_its_address_and_its_end(api, ctx, patient):
    answer = await begun(api, patient, 100)
    where = answer.headers["Location"]
    upload = await ctx.uploads.get(where.removeprefix("/api/v1/media/uploads/"))
    assert answer.headers["Upload-Expires"] == upload["expires_at"].strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert (upload["expires_at"] - upload["created_at"]).total_seconds() == ctx.policy.media_orphan_seconds
    head = await asked(api, "HEAD", where, patient)
    expected = {
        "tus-resumable": "1.0.0",
        "upload-offset": "0",
        "upload-length": "100",
        "upload-metadata": said_of("application/pdf"),
        "upload-expires": answer.headers["Upload-Expires"],
        "cache-control": "no-store",
    }
    assert (head.status_code, {name: head.headers[name] for name in expected}) == (204, expected)
    told = (await asked(api, "GET", where, patient)).json()
    assert (told["status"], told["offset"], told["medium"]) == ("open", 0, None)


@pytest.mark.gen_test
async def test_what_is_offered_is_told_to_anybody(api, ctx, patient):
    for where in ("/media/uploads", f"/media/uploads/{new_id()}"):
        answer = await api.call("OPTIONS", where)
        said = [answer.headers[name] for name in ("Tus-Version", "Tus-Extension", "Tus-Max-Size")]
        assert (answer.status_code, said) == (
            204,
            ["1.0.0", "creation,expiration,termination", str(largest(ctx.policy))],
        )


@pytest.mark.gen_test(timeout=20)
async def test_every_role_may_upload_and_each_finds_only_their_own(api, ctx):
    sent = a_document(300)
    where = {}
    for role in ROLES:
        caller = caller_of(role)
        where[role] = await address(api, caller, len(sent))
        stranger = caller_of(role)
        for method in ("HEAD", "GET", "DELETE"):
            assert (await asked(api, method, where[role], stranger)).status_code == 404
        assert problem_of(await patched(api, stranger, where[role], 0, sent)) == (404, "not_found")
        answer = await patched(api, caller, where[role], 0, sent)
        assert (await api.get(f"/media/{answer.headers['Upload-Medium']}", caller)).content == sent
    assert problem_of(await begun(api, None, 5)) == (401, "unauthenticated")
    assert (await left_of_uploads(ctx))["ready"] == len(ROLES)


@pytest.mark.parametrize("said", [None, "0.2.2", "1.0.0, 1.0.0", ""])
@pytest.mark.gen_test
async def test_another_version_is_refused_and_nothing_is_done(api, ctx, patient, said):
    where = await address(api, patient, 50)
    headers = {} if said is None else {"Tus-Resumable": said}
    more = {"Upload-Length": "5", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    for method, path, content in (
        ("POST", "/media/uploads", b""),
        ("PATCH", where, making.PDF[:20]),
        ("HEAD", where, b""),
        ("GET", where, b""),
        ("DELETE", where, b""),
    ):
        answer = await api.call(method, path, patient, headers=headers | more, content=content)
        assert (answer.status_code, answer.headers["Tus-Version"]) == (412, "1.0.0")
        assert method == "HEAD" or problem_of(answer) == (412, "unsupported_version")
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"open": 1}


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"Upload-Length": "0"}, (422, "invalid")),
        ({"Upload-Length": "-1"}, (422, "invalid")),
        ({"Upload-Length": "1e3"}, (422, "invalid")),
        ({"Upload-Length": "9" * 17}, (422, "invalid")),
        ({"Upload-Length": str(2 * MIB + 1)}, (413, "too_large")),
        ({"Upload-Length": str(LIMIT + 1)}, (413, "too_large")),
        ({"Upload-Metadata": "filetype !"}, (422, "invalid")),
        ({"Upload-Metadata": "filetype aW1hZ2UvcG5n,filetype aW1hZ2UvcG5n"}, (422, "invalid")),
        ({"Upload-Metadata": "a" * 3000}, (422, "invalid")),
        ({"Upload-Metadata": said_of("text/html")}, (415, "unsupported_media")),
        ({"Upload-Metadata": said_of("image/" + "x" * 100)}, (422, "invalid")),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.gen_test
async def test_what_cannot_become_a_medium_is_not_begun(api, ctx, patient, change, refusal):
    named = {name.replace("-", "_"): said for name, said in change.items()}
    assert problem_of(await begun(api, patient, 100, **named)) == refusal
    assert await left_of_uploads(ctx) == NOTHING_LEFT


@pytest.mark.gen_test
async def test_without_a_length_or_a_type_known(api, patient):
    answer = await api.call("POST", "/media/uploads", patient, headers=TUS)
    assert problem_of(answer) == (422, "invalid")
    assert [*answer.json()["errors"]] == ["Upload-Length"]
    answer = await api.call("POST", "/media/uploads", patient, headers={**TUS, "Upload-Length": "9"})
    assert answer.status_code == 201
    assert "Upload-Metadata" not in (await asked(api, "HEAD", answer.headers["Location"], patient)).headers


@pytest.mark.gen_test
async def test_a_wrong_place_type_or_length_stores_nothing(api, ctx, patient):
    sent = a_document(9000)
    where = await address(api, patient, len(sent))
    assert (await patched(api, patient, where, 0, sent[:5000])).status_code == 204
    for answer, refusal in (
        (await patched(api, patient, where, 0, sent[:5000]), (409, "wrong_offset")),
        (await patched(api, patient, where, 5001, sent[5001:]), (409, "wrong_offset")),
        (await patched(api, patient, where, 5000, sent[5000:], Content_Type="application/pdf"), (415, None)),
        (await patched(api, patient, where, 5000, sent[5000:], Upload_Offset="x"), (422, "invalid")),
        (await patched(api, patient, where, 5000, sent), (413, "too_large")),
    ):
        assert answer.status_code == refusal[0]
        assert problem_of(answer)[1] == (refusal[1] or "unsupported_media")
        assert await offset_of(api, where, patient) == 5000
    answer = await patched(api, patient, where, 5000, sent[5000:])
    assert (await api.get(f"/media/{answer.headers['Upload-Medium']}", patient)).content == sent


@pytest.mark.gen_test
async def test_more_than_was_announced_is_cut_off_without_a_length_as_well(api, patient):
    sent = a_document(9000)
    where = await address(api, patient, 8000)

    async def pieces():
        yield sent

    assert problem_of(await patched(api, patient, where, 0, pieces())) == (413, "too_large")
    assert await offset_of(api, where, patient) == 0


@pytest.mark.parametrize(
    ("data", "mime", "refusal"),
    [
        (b"<html><script>alert(1)</script></html>", "image/jpeg", (415, "unsupported_media")),
        (making.a_jpeg(), "video/mp4", (415, "unsupported_media")),
        (making.HEIC, "image/heic", (415, "unsupported_media")),
        (making.a_jpeg()[:700], "image/jpeg", (422, "invalid")),
        (making.a_png_bomb(), "image/png", (422, "invalid")),
        (making.a_video()[:2_000], "video/mp4", (422, "invalid")),
        (making.a_jpeg() + bytes(LIMIT), "", (413, "too_large")),
    ],
    ids=["page", "kind", "heic", "cut", "bomb", "video", "large"],
)
@pytest.mark.gen_test(timeout=20)
async def test_a_refused_file_leaves_nothing(api, ctx, patient, data, mime, refusal):
    where = await address(api, patient, len(data), mime)
    assert problem_of(await patched(api, patient, where, 0, data)) == refusal
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"discarded": 1}
    assert (await asked(api, "HEAD", where, patient)).status_code == 410
    assert problem_of(await patched(api, patient, where, 0, data)) == (410, "gone")
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"discarded": 1}


@pytest.mark.gen_test
async def test_a_type_never_taken_is_refused_with_its_first_bytes(api, ctx, patient):
    where = await address(api, patient, 500_000, "")
    assert (await patched(api, patient, where, 0, bytes(4000))).status_code == 204
    assert problem_of(await patched(api, patient, where, 4000, bytes(96))) == (415, "unsupported_media")
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"discarded": 1}


@pytest.mark.gen_test
async def test_the_lost_answer_of_the_last_part_is_asked_for_again(api, ctx, patient):
    sent = a_document(700_000)
    where = await address(api, patient, len(sent))
    first = await patched(api, patient, where, 0, sent)
    head = await asked(api, "HEAD", where, patient)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Medium"]) == (
        str(len(sent)),
        first.headers["Upload-Medium"],
    )
    again = await patched(api, patient, where, len(sent), b"")
    assert (again.status_code, again.headers["Upload-Medium"]) == (204, first.headers["Upload-Medium"])
    assert problem_of(await patched(api, patient, where, 0, sent)) == (409, "wrong_offset")
    assert (await left_of_uploads(ctx))["media"] == 1


@pytest.mark.gen_test
async def test_of_two_parts_at_one_place_one_wins(api_of, ctx, patient):
    apis = [api_of(ctx), api_of(ctx)]
    versions = [a_document(600_000, seed) for seed in (b"one", b"two")]
    where = await address(apis[0], patient, 600_000)
    answers = await asyncio.gather(
        *(patched(api, patient, where, 0, sent) for api, sent in zip(apis, versions, strict=True))
    )
    assert sorted(answer.status_code for answer in answers) in ([204, 409], [409, 409])
    won = [answer.status_code for answer in answers]
    if 204 in won:
        medium_id = answers[won.index(204)].headers["Upload-Medium"]
        assert (await apis[1].get(f"/media/{medium_id}", patient)).content == versions[won.index(204)]
    else:  # each was first at a place: every piece is whole and of one of them
        offset = await offset_of(apis[0], where, patient)
        stored = b"".join([piece async for piece in ctx.pieces.read(where.rpartition("/")[2], offset)])
        for at in range(0, offset, PIECE_BYTES):
            assert stored[at : at + PIECE_BYTES] in {one[at : at + PIECE_BYTES][: offset - at] for one in versions}


# Of a body without a length, Tornado forgets the read that the loss of the connection interrupts: 64 KiB at most.
@pytest.mark.parametrize(("chunked", "forgotten"), [(True, 65_536), (False, 0)])
@pytest.mark.gen_test(timeout=20)
async def test_a_lost_connection_keeps_what_has_come_and_another_process_goes_on(
    api_of, ctx, patient, chunked, forgotten
):
    here, there = api_of(ctx), api_of(ctx)
    sent = a_document(700_000)
    where = await address(here, patient, len(sent))
    with capture_logs() as logs:
        await cut(here, patient, where, 0, sent, 400_000, chunked=chunked)

        async def is_kept() -> bool:
            stored = await offset_of(there, where, patient)
            return "upload.keep" not in tasks.running() and 400_000 - forgotten <= stored <= 400_000

        await until(is_kept)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
    offset = await offset_of(there, where, patient)
    answer = await patched(there, patient, where, offset, sent[offset:])
    assert (await here.get(f"/media/{answer.headers['Upload-Medium']}", patient)).content == sent
    assert (await left_of_uploads(ctx))["pieces"] == 0


@pytest.mark.gen_test
async def test_an_ended_upload_is_gone_and_its_bytes_with_it(api, ctx, patient):
    where = await address(api, patient, 500)
    await patched(api, patient, where, 0, a_document(400))
    assert (await asked(api, "DELETE", where, patient)).status_code == 204
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"discarded": 1}
    for method in ("HEAD", "DELETE"):
        assert (await asked(api, method, where, patient)).status_code == 410


@pytest.mark.gen_test
async def test_ending_a_finished_upload_leaves_the_medium(api, ctx, patient):
    sent = a_document(400)
    where = await address(api, patient, 400)
    medium_id = (await patched(api, patient, where, 0, sent)).headers["Upload-Medium"]
    assert (await asked(api, "DELETE", where, patient)).status_code == 204
    assert (await asked(api, "HEAD", where, patient)).status_code == 410
    assert (await api.get(f"/media/{medium_id}", patient)).content == sent


@pytest.mark.gen_test
async def test_an_upload_whose_time_is_over_is_gone(api, ctx, patient):
    where = await address(api, patient, 500)
    ctx.clock.step(ctx.policy.media_orphan_seconds)
    assert (await asked(api, "HEAD", where, caller := patient)).status_code in (401, 410)
    assert (await asked(api, "HEAD", where, caller)).status_code == 410
    assert problem_of(await patched(api, patient, where, 0, a_document(500))) == (410, "gone")
    assert await left_of_uploads(ctx) == NOTHING_LEFT | {"open": 1}


@pytest.mark.gen_test
async def test_who_cannot_send_patch_says_so_in_a_post(api, patient):
    sent = a_document(400)
    where = await address(api, patient, 400)
    headers = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    answer = await api.call("POST", where, patient, headers=headers | {"X-HTTP-Method-Override": "PATCH"}, content=sent)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "400")
    for other in ("GET", "PUT", "patch"):
        answer = await api.call("POST", where, patient, headers=headers | {"X-HTTP-Method-Override": other})
        assert problem_of(answer) == (405, "method_not_allowed")


@pytest.mark.gen_test
async def test_uploads_and_their_parts_are_counted(api_of, ctx, patient, doctor):
    api = api_of(with_policy(ctx, uploads_per_hour=2, upload_parts_per_hour=3))
    whole = await api.post(patient, making.PDF, "application/pdf")
    answers = [await begun(api, patient, 500) for _ in range(2)]
    assert [whole.status_code, *(answer.status_code for answer in answers)] == [201, 201, 429]
    assert int(answers[1].headers["Retry-After"]) > 0
    assert (await begun(api, doctor, 500)).status_code == 201
    where = answers[0].headers["Location"]
    parts = [(await patched(api, patient, where, n, making.PDF[n : n + 1])).status_code for n in range(4)]
    assert parts == [204, 204, 204, 429]
    assert await offset_of(api, where, patient) == 3


@pytest.mark.gen_test
async def test_the_store_away_is_told_and_acknowledges_nothing(api_of, ctx, patient, monkeypatch):
    from storage.mongo import STORE_AWAY

    api = api_of(ctx)
    where = await address(api, patient, 500)

    async def away(*_, **__):
        raise STORE_AWAY[0]("gone")

    with monkeypatch.context() as patch:
        patch.setattr(type(ctx.pieces), "add", away)
        assert problem_of(await patched(api, patient, where, 0, a_document(500))) == (503, "unavailable")
    assert await offset_of(api, where, patient) == 0


@pytest.mark.gen_test
async def test_a_body_that_nobody_asked_for_is_refused(api, ctx, patient):
    where = await address(api, patient, 500)
    answer = await api.call("DELETE", where, patient, headers=TUS, content=b"x")
    assert problem_of(answer) == (400, "malformed")
    answer = await api.call("DELETE", where, patient, headers=TUS, content=bytes(MIB + 1))
    assert problem_of(answer) == (413, "too_large")
    assert await offset_of(api, where, patient) == 0


@pytest.mark.gen_test
async def test_logs_carry_neither_name_nor_content(api, patient):
    named = "filename " + base64.b64encode("王小明的报告".encode()).decode()
    with capture_logs() as logs:
        answer = await begun(api, patient, 400, Upload_Metadata=named)
        await patched(api, patient, answer.headers["Location"], 0, a_document(400))
    assert [word for word in ("王小明", named[9:], "1 0 obj") if word in str(logs)] == []
