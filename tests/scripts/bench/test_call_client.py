import pytest

from scripts.bench import call_client, calls
from scripts.bench.call_client import Plan, Stream, frames_of


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.webm"
    calls.make_clip(path, 1)
    return path


@pytest.mark.gen_test(timeout=60)
async def test_a_small_load_is_delivered_and_recorded(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(call_client, "DRAIN_SECONDS", 0.3)
    said = []
    async with calls.server("ours", tmp_path) as (_, port):
        counted = await call_client.run(Plan(port, str(clip), ["a"], 0.5, 0.7), said.append)
    assert said == ["counting", "counted"]
    assert counted["sent"] > 50
    assert counted["received"] >= 0.9 * counted["sent"]
    assert sorted(path.name for path in tmp_path.rglob("*.webm")) == ["doctor-1-1.webm", "patient-1-1.webm"]


def test_frames_are_packets_of_the_network_size(clip):
    frames = frames_of(clip)
    assert len(frames["video"]) == 30
    assert max(len(packet) for frame in frames["video"] for packet in frame) <= 1400
    assert all(len(frame) == 1 for frame in frames["audio"])


def test_a_plan_survives_its_journey():
    plan = Plan(80, "clip.webm", ["a", "b"], 1.0, 2.0)
    assert Plan.from_json(plan.to_json()) == plan


def test_a_caller_sends_what_is_due_and_nothing_twice():
    sent = []
    caller = object.__new__(call_client.Caller)
    caller.streams = {"audio": Stream([[b"a"], [b"b", b"c"]], 0.02, 960, 111, 7)}
    caller._shift, caller.sent = 0.0, 0
    caller._wire = type("Wire", (), {"send_rtp": staticmethod(sent.append)})
    caller.send_due(0.03)
    caller.send_due(0.03)
    assert [packet[12:] for packet in sent] == [b"a", b"b", b"c"]
    assert [packet[1] for packet in sent] == [0x80 | 111, 111, 0x80 | 111]
    assert caller.sent == 3
