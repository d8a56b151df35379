"""What is counted, and that nothing of its content is."""

import pytest
from prometheus_client import REGISTRY, generate_latest

from tests.im.house import Refused


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


@pytest.mark.gen_test(timeout=20)
async def test_acks_requests_frames_and_closes_are_counted_without_content(server, visit):
    names = [
        ("chat_acks_total", {"dup": "no"}),
        ("chat_acks_total", {"dup": "yes"}),
        ("chat_requests_total", {"op": "message.send", "outcome": "ok"}),
        ("chat_requests_total", {"op": "unknown", "outcome": "malformed"}),
        ("chat_closes_total", {"code": "4009"}),
        ("chat_journal_batch_count", {}),
    ]
    before = [value(name, **labels) for name, labels in names]
    line = await server.line(visit.patient)
    for _ in range(2):
        await line.say(visit, "MARKER-42", "m1")
    with pytest.raises(Refused):
        await line.request("MARKER-43")
    assert value("chat_sockets") >= 1
    await line.write("MARKER-44")
    await line.closed()
    after = [value(name, **labels) for name, labels in names]
    assert [later - earlier for later, earlier in zip(after, before, strict=True)] == [1, 1, 2, 1, 1, 2]
    assert b"MARKER" not in generate_latest()
    assert visit.id.encode() not in generate_latest()
