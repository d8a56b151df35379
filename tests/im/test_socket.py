"""The websocket of the protocol, over real sockets."""

import asyncio
import contextlib
import json

import pytest
from tornado.websocket import WebSocketClosedError

from core.ids import new_id
from core.policy import Policy
from im.frames import Close
from tests.im.house import Line, Refused, add_visit, move_visit, stored, token, until

pytestmark = pytest.mark.gen_test(timeout=20)


async def pair(server, visit):
    return await server.line(visit.patient), await server.line(visit.doctor, "doctor")


async def refused(request) -> str:
    with pytest.raises(Refused) as caught:
        await request
    return caught.value.code


# --- hello -----------------------------------------------------------------------------------------------------------


async def test_hello_tells_session_account_time_heartbeat_and_limits(server, visit, clock):
    line = await server.line(visit.patient)
    assert line.welcome == {
        "session": line.session,
        "account": {"id": visit.patient, "role": "patient"},
        "server_time": clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "heartbeat_s": 25,
        "limits": {
            "frame_bytes": 65536,
            "batch": 100,
            "frames_per_second": 10_000,
            "messages_per_minute": 100_000,
            "text_characters": 4_000,
        },
    }


async def test_hello_and_what_follows_may_come_in_one_frame(server, visit):
    line = await server.open()
    hello = line.ask("hello", token=token(server.ctx, visit.patient), device="d")
    answers = await line.batch(hello, line.ask("sync", cursors=None), line.ask("ping"))
    assert answers[0]["account"]["id"] == visit.patient
    assert [page["id"] for page in answers[1]["conversations"]] == [visit.id]
    assert list(answers[2]) == ["server_time"]


async def test_a_false_token_is_refused_and_closed_with_4001(server):
    line = await server.open()
    assert await refused(line.request("hello", token="nonsense", device="d")) == "unauthenticated"
    assert (await line.closed())[0] == Close.UNAUTHENTICATED


async def test_a_revoked_login_is_refused_by_one_look_at_redis(server, visit):
    await server.ctx.revocations.revoke_session(session="login-" + visit.patient, account=visit.patient, seconds=60)
    line = await server.open()
    assert await refused(line.request("hello", token=token(server.ctx, visit.patient), device="d")) == "unauthenticated"
    assert (await line.closed())[0] == Close.UNAUTHENTICATED


@pytest.mark.parametrize("device", ["", "a/b", "x" * 65, "d\n"])
async def test_a_device_that_is_no_device_id_is_a_protocol_error(server, visit, device):
    line = await server.open()
    assert await refused(line.request("hello", token=token(server.ctx, visit.patient), device=device)) == "invalid"
    assert (await line.closed())[0] == Close.PROTOCOL_ERROR


async def test_the_first_request_must_be_hello(server, visit, indexed):
    line = await server.open()
    send = {"conversation": visit.id, "kind": "text", "body": {"text": "x"}}
    await line.write({"id": "1", "op": "message.send", "args": send})
    assert await line.closed() == (Close.PROTOCOL_ERROR, "the first request is hello")
    assert await stored(indexed, visit.id) == []


async def test_who_says_nothing_for_five_seconds_is_closed_with_4001(server):
    line = await server.open()
    await until(lambda: server.hub._wheel.strangers())
    server.hub._wheel.turn(asyncio.get_running_loop().time() + 4.9, 0)
    assert line.connection.close_code is None
    server.hub._wheel.turn(asyncio.get_running_loop().time() + 5.1, 0)
    assert (await line.closed())[0] == Close.UNAUTHENTICATED


async def test_a_token_that_runs_out_closes_the_socket_unless_it_was_renewed(server, visit, clock):
    renewing, idle = await server.line(visit.patient), await server.line(visit.doctor, "doctor")
    clock.step(800)
    await renewing.request("hello", token=token(server.ctx, visit.patient), device="device-1")
    clock.step(101)
    server.hub.turn()
    assert await idle.closed() == (Close.UNAUTHENTICATED, "the token has expired")
    assert list(await renewing.request("ping")) == ["server_time"]
    clock.step(800)
    server.hub.turn()
    assert (await renewing.closed())[0] == Close.UNAUTHENTICATED


async def test_a_renewal_keeps_the_session_and_must_be_of_the_same_account_and_device(server, visit):
    line = await server.line(visit.patient)
    again = await line.request("hello", token=token(server.ctx, visit.patient), device="device-1")
    assert again["session"] == line.session
    other = token(server.ctx, visit.doctor, "doctor")
    assert await refused(line.request("hello", token=other, device="device-1")) == "forbidden"
    assert await refused(line.request("hello", token="false", device="device-1")) == "unauthenticated"
    assert list(await line.request("ping")) == ["server_time"]


async def test_with_redis_away_the_signature_lets_in(start, visit, redis_url):
    class Silent:
        async def standing(self, **_):
            from redis.exceptions import ConnectionError as Away

            raise Away("away")

    process = await start()
    process.ctx.revocations = Silent()
    assert (await process.line(visit.patient)).welcome["account"]["id"] == visit.patient


# --- frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "no json",
        "1",
        "[]",
        '"x"',
        "[1]",
        '{"id":"1"}',
        '{"id":"","op":"ping"}',
        '{"id":"a b","op":"ping"}',
        '{"id":"1","op":7}',
        '{"id":"1","op":"ping","args":[]}',
        '{"id":"1","op":"ping","more":1}',
        b'{"id":"1"}',
        "[" * 50_000,
        '{"id":"1","op":"ping","args":{"a":"' + "x" * 65_536 + '"}}',
    ],
    ids=range(15),
)
async def test_what_is_no_frame_of_the_protocol_closes_with_4009(server, visit, frame):
    line = await server.line(visit.patient)
    await line.write(frame)
    assert (await line.closed())[0] == Close.PROTOCOL_ERROR


async def test_an_unknown_op_is_refused_and_the_socket_lives(server, visit):
    line = await server.line(visit.patient)
    assert await refused(line.request("message.delete", conversation=visit.id)) == "malformed"
    assert list(await line.request("ping")) == ["server_time"]


async def test_too_many_frames_in_a_second_close_with_4029(start, visit):
    process = await start(policy=Policy(socket_frames_per_second=5))
    line = await process.line(visit.patient)
    with contextlib.suppress(WebSocketClosedError):
        for number in range(8):
            await line.write({"id": str(number), "op": "ping", "args": {}})
    assert (await line.closed())[0] == Close.RATE_LIMITED


async def test_a_batch_is_answered_as_few_frames(server, visit):
    line = await server.line(visit.patient)
    before = len(line.frames)
    await line.batch(*(line.ask("ping") for _ in range(20)))
    assert [len(frame) for frame in line.frames[before:]] == [20]


async def test_a_plain_request_is_answered_by_a_problem(server):
    from tornado.httpclient import AsyncHTTPClient

    answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{server.port}/ws", raise_error=False)
    assert (answer.code, json.loads(answer.body)["code"]) == (400, "malformed")


@pytest.mark.parametrize(
    ("origin", "comes_in"),
    [("https://h5.example.org", True), ("https://evil.example.org", False)],
)
async def test_pages_of_other_hosts_come_in_only_when_listed(server, origin, comes_in):
    from tornado.httpclient import HTTPClientError

    if comes_in:
        assert isinstance(await server.open(Origin=origin), Line)
    else:
        with pytest.raises(HTTPClientError, match="403"):
            await server.open(Origin=origin)


# --- roles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["pharmacist", "nurse", "admin", "security_admin", "auditor", "regulator"])
async def test_who_is_neither_patient_nor_doctor_may_only_ping(server, visit, indexed, role):
    line = await server.line(visit.doctor, role)
    body = {"text": "x"}
    assert await refused(line.request("message.send", conversation=visit.id, kind="text", body=body)) == "forbidden"
    assert await refused(line.request("sync", cursors=None)) == "forbidden"
    assert list(await line.request("ping")) == ["server_time"]
    assert await stored(indexed, visit.id) == []


async def test_a_token_bound_to_a_call_neither_speaks_nor_hears_chat(server, visit, indexed):
    bound = await server.line(visit.patient, device="web", claims={"scope": "call", "call": "c1"})
    patient, doctor = await pair(server, visit)
    assert await refused(bound.say(visit, "x")) == "forbidden"
    await doctor.say(visit, "好")
    await patient.event("message.created")
    await bound.request("ping")
    assert bound.events == []
    assert len(await stored(indexed, visit.id)) == 1


async def test_an_op_that_names_no_role_is_refused_to_everybody(start, visit):
    from dataclasses import replace

    from im.commands import COMMANDS

    process = await start(commands={**COMMANDS, "ping": replace(COMMANDS["ping"], roles=frozenset())})
    line = await process.line(visit.patient)
    assert await refused(line.request("ping")) == "forbidden"


# --- sending ---------------------------------------------------------------------------------------------------------


@pytest.mark.feature("P1.8")
@pytest.mark.rule("R6-5")
async def test_a_text_reaches_the_other_and_is_acknowledged_once_it_is_stored(server, indexed, visit):
    patient, doctor = await pair(server, visit)
    ack = await patient.say(visit, "医生您好", "m1")
    lying = await stored(indexed, visit.id)
    pushed = await doctor.event("message.created")
    assert [message["seq"] for message in lying] == [1]
    assert "您好" not in str(lying)
    assert ack == {"conversation": visit.id, "seq": 1, "id": pushed["id"], "at": pushed["at"], "dup": False}
    assert pushed == {
        "conversation": visit.id,
        "seq": 1,
        "id": ack["id"],
        "from": {"account": visit.patient, "role": "patient"},
        "kind": "text",
        "body": {"text": "医生您好"},
        "at": ack["at"],
    }


@pytest.mark.feature("D5.1")
async def test_the_doctor_answers_and_every_device_of_both_is_told_once(server, visit):
    phone, tablet = await server.line(visit.patient), await server.line(visit.patient, device="tablet")
    doctor = await server.line(visit.doctor, "doctor")
    await doctor.request("message.send", conversation=visit.id, kind="emoji", body={"code": "smile"})
    for line in (phone, tablet, doctor):
        await line.event("message.created", seq=1)
        assert line.said(visit) == [(1, {"code": "smile"})]


async def test_an_ack_comes_before_the_push_of_the_same_message(server, visit):
    patient, _ = await pair(server, visit)
    await patient.say(visit, "一", "m1")
    await patient.event("message.created")
    said = [one for frame in patient.frames for one in (frame if isinstance(frame, list) else [frame])]
    order = ["re" if one.get("re") == "m1" else "ev" for one in said if one.get("re") == "m1" or "ev" in one]
    assert order == ["re", "ev"]


async def test_a_repeat_gets_the_first_ack_also_after_the_visit_has_ended(server, indexed, visit):
    patient, _ = await pair(server, visit)
    first = await patient.say(visit, "一", "m1")
    again = await patient.say(visit, "一", "m1")
    await move_visit(server, visit, "completed")
    late = await patient.say(visit, "一", "m1")
    assert again == late == first | {"dup": True}
    assert len(await stored(indexed, visit.id)) == 1


async def test_the_same_id_with_another_body_is_a_conflict(server, indexed, visit):
    patient, _ = await pair(server, visit)
    await patient.say(visit, "一", "m1")
    assert await refused(patient.say(visit, "二", "m1")) == "idempotency_conflict"
    await move_visit(server, visit, "completed")
    assert await refused(patient.say(visit, "二", "m1")) == "idempotency_conflict"
    assert len(await stored(indexed, visit.id)) == 1


async def test_the_same_id_of_another_device_or_account_is_another_message(server, indexed, visit):
    patient, doctor = await pair(server, visit)
    tablet = await server.line(visit.patient, device="tablet")
    acks = [await line.say(visit, "一", "m1") for line in (patient, tablet, doctor)]
    assert [(ack["seq"], ack["dup"]) for ack in acks] == [(1, False), (2, False), (3, False)]
    assert len({ack["id"] for ack in acks}) == 3


@pytest.mark.parametrize(
    "status",
    ["pending_payment", "waiting", "completed", "terminated", "cancelled", "declined", "expired", "refunded"],
)
async def test_a_visit_that_is_not_in_progress_takes_no_message(server, indexed, status):
    visit = await add_visit(indexed, status)
    patient, doctor = await pair(server, visit)
    assert await refused(patient.say(visit, "x")) == "wrong_state"
    assert await refused(doctor.say(visit, "x")) == "wrong_state"
    assert await stored(indexed, visit.id) == []
    assert patient.events == doctor.events == []


async def test_a_move_of_the_visit_counts_from_the_next_message_on(server, indexed, visit):
    patient, _ = await pair(server, visit)
    await patient.say(visit, "一")
    await move_visit(server, visit, "completed")
    assert await refused(patient.say(visit, "二")) == "wrong_state"
    assert len(await stored(indexed, visit.id)) == 1


async def test_anothers_visit_is_not_found(server, indexed, visit):
    stranger = await server.line((await add_visit(indexed)).patient)
    assert await refused(stranger.say(visit, "x")) == "not_found"
    assert await refused(stranger.request("message.read", conversation=visit.id, seq=1)) == "not_found"
    assert await refused(stranger.request("typing", conversation=visit.id)) == "not_found"
    assert await refused(stranger.request("message.recall", conversation=visit.id, seq=1)) == "not_found"
    assert await refused(stranger.request("sync", cursors={visit.id: 0})) == "not_found"
    assert await stored(indexed, visit.id) == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text", {"text": ""}),
        ("text", {"text": "  \n "}),
        ("text", {"text": "x" * 4_001}),
        ("text", {"text": "a\x00b"}),
        ("text", {"text": "\ud800"}),
        ("text", {"text": 7}),
        ("text", {"text": "x", "more": 1}),
        ("text", {}),
        ("text", {"code": "smile"}),
        ("emoji", {"code": "no_such_face"}),
        ("image", {"media": "x"}),
        ("system", {"recalls": 1}),
        ("card", {"card": "rating_request"}),
        ("voice", {"media": "x"}),
    ],
)
async def test_a_kind_or_body_out_of_bounds_is_invalid(server, indexed, visit, kind, body):
    patient, doctor = await pair(server, visit)
    assert await refused(patient.request("message.send", conversation=visit.id, kind=kind, body=body)) == "invalid"
    assert await stored(indexed, visit.id) == []
    assert doctor.events == []


async def test_four_thousand_characters_fit(server, visit):
    patient, doctor = await pair(server, visit)
    await patient.say(visit, "🙂" * 4_000)
    assert len((await doctor.event("message.created"))["body"]["text"]) == 4_000


async def test_a_pipelined_batch_is_numbered_in_its_order(server, visit):
    patient, doctor = await pair(server, visit)
    requests = [
        patient.ask("message.send", conversation=visit.id, kind="text", body={"text": str(number)})
        for number in range(60)
    ]
    acks = await patient.batch(*requests)
    await doctor.event("message.created", seq=60)
    assert [ack["seq"] for ack in acks] == list(range(1, 61))
    assert doctor.said(visit) == [(number + 1, {"text": str(number)}) for number in range(60)]


async def test_a_message_that_must_be_looked_into_keeps_its_place_before_a_later_one(server, indexed, visit):
    patient, doctor = await pair(server, visit)
    medium = await add_image(server, visit.patient)
    await patient.say(visit, "先")
    acks = await patient.batch(
        patient.ask("message.send", conversation=visit.id, kind="image", body={"media": medium}),
        patient.ask("message.send", conversation=visit.id, kind="text", body={"text": "后"}),
        patient.ask("ping"),
    )
    assert [ack.get("seq") for ack in acks] == [2, 3, None]
    await doctor.event("message.created", seq=3)
    assert [body for _, body in doctor.said(visit)] == [{"text": "先"}, {"media": medium}, {"text": "后"}]


async def add_image(server, owner, **changes) -> str:
    """A finished image of this account's."""
    medium = new_id()
    now = server.ctx.clock.now()
    facts = {"_id": medium, "owner": owner, "status": "ready", "kind": "image", "type": "jpeg", "mime": "image/jpeg"}
    times = {"created_at": now, "ready_at": now, "retain_until": None}
    await server.ctx.store.db["media"].insert_one(facts | {"readers": [], "visits": [], "size": 9} | times | changes)
    return medium


@pytest.mark.feature("P1.8")
async def test_an_image_may_be_seen_by_the_other_once_it_was_sent(server, indexed, visit):
    patient, doctor = await pair(server, visit)
    medium = await add_image(server, visit.patient)
    await patient.request("message.send", conversation=visit.id, kind="image", body={"media": medium})
    assert (await doctor.event("message.created"))["body"] == {"media": medium}
    assert set((await server.ctx.media.get(medium))["readers"]) >= {visit.doctor}


@pytest.mark.parametrize(
    ("owner", "changes", "code"),
    [
        ("another", {}, "not_found"),
        ("own", {"status": "uploading"}, "not_found"),
        ("own", {"kind": "video"}, "invalid"),
    ],
)
async def test_anothers_or_unfinished_media_is_refused(server, indexed, visit, owner, changes, code):
    patient, doctor = await pair(server, visit)
    medium = await add_image(server, visit.patient if owner == "own" else new_id(), **changes)
    body = {"media": medium}
    assert await refused(patient.request("message.send", conversation=visit.id, kind="image", body=body)) == code
    assert await stored(indexed, visit.id) == []
    assert (await server.ctx.media.get(medium))["readers"] == []
    assert doctor.events == []


async def test_sending_too_much_is_rate_limited_with_the_time_to_wait(start, indexed, visit):
    process = await start(policy=Policy(socket_messages_per_minute=3))
    patient = await process.line(visit.patient)
    for _ in range(3):
        await patient.say(visit, "x")
    with pytest.raises(Refused) as caught:
        await patient.say(visit, "x")
    assert caught.value.code == "rate_limited"
    assert 0 < caught.value.error["retry_after_ms"] <= 20_000
    assert len(await stored(indexed, visit.id)) == 3


# --- recall, read, typing --------------------------------------------------------------------------------------------


async def test_a_recall_hides_the_original_and_says_so_by_its_own_number(server, indexed, visit):
    patient, doctor = await pair(server, visit)
    await patient.say(visit, "说错了", "m1")
    place = await patient.request("message.recall", conversation=visit.id, seq=1)
    told = await doctor.event("message.created", seq=2)
    assert (place["seq"], place["dup"], told["kind"], told["body"]) == (2, False, "system", {"recalls": 1})
    assert told["from"] == {"account": "system", "role": "system"}
    page = (await doctor.request("sync", cursors={visit.id: 0}))["conversations"][0]
    assert [(one["seq"], one["body"], one.get("recalled")) for one in page["messages"]] == [
        (1, None, True),
        (2, {"recalls": 1}, None),
    ]
    kept = await stored(indexed, visit.id)
    assert server.ctx.cipher.open(kept[0]["body"], field="message.body") == '{"text":"说错了"}'


async def test_a_repeated_recall_is_one_recall_also_after_two_minutes(server, indexed, visit, clock):
    patient, _ = await pair(server, visit)
    await patient.say(visit, "x")
    first = await patient.request("message.recall", conversation=visit.id, seq=1)
    clock.step(600)
    again = await patient.request("message.recall", conversation=visit.id, seq=1)
    assert again == first | {"dup": True}
    assert len(await stored(indexed, visit.id)) == 2


async def test_only_the_sender_recalls_and_only_for_two_minutes(server, indexed, visit, clock):
    patient, doctor = await pair(server, visit)
    await patient.say(visit, "x")
    assert await refused(doctor.request("message.recall", conversation=visit.id, seq=1)) == "forbidden"
    assert await refused(patient.request("message.recall", conversation=visit.id, seq=2)) == "not_found"
    clock.step(121)
    assert await refused(patient.request("message.recall", conversation=visit.id, seq=1)) == "wrong_state"
    assert [message["recalled_at"] for message in await stored(indexed, visit.id)] == [None]


async def test_a_read_mark_is_told_to_both_and_never_falls(server, visit):
    patient, doctor = await pair(server, visit)
    for said in ("一", "二"):
        await patient.say(visit, said)
    await doctor.request("message.read", conversation=visit.id, seq=2)
    await doctor.request("message.read", conversation=visit.id, seq=1)
    told = {"conversation": visit.id, "account": visit.doctor, "seq": 2}
    assert await patient.event("message.read") == await doctor.event("message.read") == told
    await server.journal.marks.write()
    page = (await patient.request("sync", cursors={visit.id: 2}))["conversations"][0]
    assert page["read"] == {visit.doctor: 2}
    assert sum(one["ev"] == "message.read" for one in patient.events) == 1


async def test_what_is_not_there_cannot_be_read(server, visit):
    patient, doctor = await pair(server, visit)
    await patient.say(visit, "x")
    assert await refused(doctor.request("message.read", conversation=visit.id, seq=2)) == "invalid"
    assert not any(one["ev"] == "message.read" for one in patient.events)


async def test_typing_is_told_to_the_other_once_in_three_seconds(server, indexed, visit):
    patient, doctor = await pair(server, visit)
    for _ in range(5):
        await patient.request("typing", conversation=visit.id)
    await doctor.event("typing", account=visit.patient)
    await doctor.request("ping")
    assert [one["ev"] for one in doctor.events] == ["typing"]
    assert patient.events == []
    assert await stored(indexed, visit.id) == []


# --- nothing is left behind ------------------------------------------------------------------------------------------


async def test_message_text_is_in_no_log(server, visit, caplog, capsys):
    patient, _ = await pair(server, visit)
    await patient.say(visit, "MARKER-41")
    await refused(patient.request("message.send", conversation=visit.id, kind="text", body={"text": "MARKER-41" * 900}))
    assert "MARKER-41" not in caplog.text
    said = capsys.readouterr()
    assert "MARKER-41" not in said.out + said.err
