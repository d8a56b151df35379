import asyncio
import json

import av
import pytest

from scripts.bench import calls
from scripts.bench.figures import Rounds, summary


def test_the_figures_and_their_targets_are_the_promised_ones():
    assert {figure.name: figure.target for figure in calls.FIGURES} == {
        "stock_over_ours_1": "≥ 30",
        "delivered_32": "≥ 0.999",
        "loop_lag_ms_32": "≤ 20",
    }


def test_the_clip_takes_its_megabit(tmp_path):
    calls.make_clip(tmp_path / "clip.webm", 1)
    with av.open(str(tmp_path / "clip.webm")) as clip:
        sizes = {"audio": [], "video": []}
        for packet in clip.demux():
            if packet.size:
                sizes[packet.stream.type].append(packet.size)
    assert (len(sizes["video"]), 50 <= len(sizes["audio"]) <= 51) == (30, True)
    assert sum(sizes["video"]) > 60_000


@pytest.mark.gen_test
async def test_a_round_sets_one_call_beside_aiortcs_own_way(tmp_path, monkeypatch):
    asked = []

    async def measure(kind, count, clip):
        asked.append((kind, count))
        cpu = 0.9 if kind == "stock" else 0.03
        return {"cpu_s_per_call_s": cpu, "delivered": 1.0, "loop_lag_p99_ms": 3.0, "server_mib": 90.0}

    monkeypatch.setattr(calls, "measure", measure)
    rounds = Rounds()
    await calls.one_round(tmp_path, (1, 32), calls.NAMES, rounds)
    found = summary(rounds, calls.FIGURES, {})
    assert asked == [("ours", 1), ("stock", 1), ("ours", 32)]
    assert (found["stock_over_ours_1"], found["delivered_32"], found["loop_lag_ms_32"]) == (30.0, 1.0, 3.0)
    assert json.dumps(found)


def test_what_cannot_be_measured_is_one_line_and_1(monkeypatch, capsys):
    async def run(wanted, counts, count):
        raise calls.BenchFailed("the ours server did not start")

    monkeypatch.setattr(calls, "run", run)
    monkeypatch.setattr(calls.uvloop, "run", asyncio.run)
    assert calls.main(["--rounds", "1"]) == 1
    assert capsys.readouterr().err == "bench: the ours server did not start\n"


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--calls", "5"]])
def test_senseless_wishes_are_refused(arguments):
    with pytest.raises(SystemExit):
        calls.main(arguments)
