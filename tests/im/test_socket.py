"""The websocket of the protocol, over real sockets."""

import asyncio
import json

import pytest

from tests.im.house import Refused, add_visit, move_visit, stored, token

pytestmark = pytest.mark.gen_test(timeout=20)


@pytest.mark.feature("P1.8")
async def test_a_text_reaches_the_other_and_is_acknowledged_once_it_is_stored(server, indexed, visit):
    patient, doctor = await server.line(visit.patient), await server.line(visit.doctor, "doctor")
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
