import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from scripts.bench import rest
from scripts.bench.figures import Rounds, summary
from scripts.bench.ground import BenchFailed, Target

PATIENTS = [rest.Patient(f"A{n}", f"t{n}", f"P{n}", [f"V{n}-{m}" for m in range(rest.VISITS_EACH)]) for n in range(2)]
SCENE = rest.Scene(PATIENTS, {"kind": "consult"})


def test_the_figures_and_their_targets_are_the_promised_ones():
    assert {figure.name: figure.target for figure in rest.FIGURES} == {
        "cpu_ratio_list": "≤ 2",
        "cpu_ratio_detail": "≤ 2",
        "cpu_ratio_create": "≤ 2",
    }


@pytest.mark.parametrize(
    ("name", "hospital", "bare"),
    [
        ("list", "GET /api/v1/visits", "GET /list/A1"),
        ("detail", "GET /api/v1/visits/V1-0", "GET /detail/A1/V1-0"),
        ("create", "POST /api/v1/visits", "POST /create/A1"),
    ],
)
def test_both_sides_are_asked_for_the_same_in_turn(name, hospital, bare):
    asked = []
    for requests in (SCENE.hospital(name), SCENE.bare(name)):
        first, second = next(requests), next(requests)
        assert first.headers["Authorization"] == "Bearer t0"
        asked.append((f"{second.method} {second.path}", second.headers["Authorization"], second.content))
    content = b'{"kind": "consult", "patient_id": "P1"}' if name == "create" else None
    assert asked == [(hospital, "Bearer t1", content), (bare, "Bearer t1", content)]


def test_every_creation_is_one_of_its_own():
    requests = SCENE.hospital("create")
    assert next(requests).headers["Idempotency-Key"] != next(requests).headers["Idempotency-Key"]


@pytest.mark.gen_test
async def test_a_round_measures_each_figure_beside_its_baseline(monkeypatch):
    asked, rounds = [], Rounds()

    async def cpu_of(http, target, requests, count):
        asked.append((target, next(requests).path, count))
        return {"cpu_ms": 3.0 if target == "app" else 2.0, "per_second": 100.0}

    monkeypatch.setattr(rest, "cpu_of", cpu_of)
    await rest.one_round("app", "bare", SCENE, ["list", "create"], rounds)
    assert asked == [
        ("app", "/api/v1/visits", rest.REQUESTS["list"]),
        ("bare", "/list/A0", rest.REQUESTS["list"]),
        ("app", "/api/v1/visits", rest.REQUESTS["create"]),
        ("bare", "/create/A0", rest.REQUESTS["create"]),
    ]
    shown = summary(rounds, rest.FIGURES, rest.about(1))
    assert (shown["cpu_ratio_list"], shown["cpu_ratio_create"]) == (1.5, 1.5)
    assert "cpu_ratio_detail" not in shown
    assert shown["reported"]["bare_list_cpu_ms"] == 2.0


@pytest.mark.gen_test
async def test_a_refusal_ends_the_measuring_with_what_was_said():
    async def refuse(request):
        return httpx.Response(429, text="rate_limited")

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        with pytest.raises(BenchFailed, match="GET /api/v1/visits: 429 rate_limited"):
            await rest.cpu_of(http, Target(1, 1), SCENE.hospital("list"), 10)


def test_the_file_runs_by_itself_and_refuses_what_it_does_not_know():
    command = [sys.executable, str(Path(rest.__file__)), "--only", "speed"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd="/")
    assert done.returncode == 2
    assert "invalid choice: 'speed'" in done.stderr
