#!/usr/bin/env python3
"""What REST costs over the driver calls it makes: `python -m scripts.bench.rest`.

A hospital of role `all` on embedded stores and a bare Tornado handler that makes the same driver calls on the same
stores (`scripts.bench.bare_rest`) are asked in turn, round by round, over connections that stay open; what counts is
the server process's CPU time a request, by the medians of their ratios. It takes about half a minute a round and ends
by itself.
"""

import asyncio
import itertools
import json
import os
import platform
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for those who run the file itself

from scripts.acting import Person
from scripts.bench.client import Window
from scripts.bench.command import Benchmark, main
from scripts.bench.figures import Figure, Rounds
from scripts.bench.ground import BenchFailed, Ground, Target, bare_server, open_ground
from scripts.processes import LOOPBACK
from scripts.story import CONSENTED, valid_id_number

# Requests under way at a time, each over a connection of its own.
BESIDE: Final = 8
ACCOUNTS: Final = 8
# A full page and one more, so that a list ends with a cursor.
VISITS_EACH: Final = 21
WARM_REQUESTS: Final = 32
# One to three seconds of a server's CPU: what is read is cut to hundredths.
REQUESTS: Final[Mapping[str, int]] = {"list": 400, "detail": 600, "create": 120}
_ANSWER_SECONDS: Final = 30.0

_ASKED: Final[Mapping[str, str]] = {
    "list": "GET /visits, a page of 20",
    "detail": "GET /visits/{id}",
    "create": "POST /visits, a fee to be paid",
}
FIGURES: Final = tuple(
    Figure(
        f"cpu_ratio_{name}",
        f"server CPU of {asked} over that of a bare Tornado handler that makes the same driver calls",
        at_most=2.0,
    )
    for name, asked in _ASKED.items()
)
NAMES: Final = tuple(_ASKED)


@dataclass(frozen=True)
class Request:
    """One request as httpx takes it."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes | None = None


@dataclass(frozen=True)
class Patient:
    """An account with its token, its verified patient and some visits."""

    account: str
    token: str
    patient: str
    visits: Sequence[str]


class Scene:
    """Who asks for what. Both sides get the same requests, but for the addresses."""

    def __init__(self, patients: Sequence[Patient], form: Mapping[str, Any]) -> None:
        self.patients = patients
        self._form = form

    def hospital(self, name: str) -> Iterator[Request]:
        """Requests to the hospital, without an end."""
        make: Mapping[str, Callable[[Patient, str], Request]] = {
            "list": lambda one, _: Request("GET", "/api/v1/visits", _bearer(one)),
            "detail": lambda one, visit: Request("GET", f"/api/v1/visits/{visit}", _bearer(one)),
            "create": lambda one, _: Request("POST", "/api/v1/visits", _keyed(one), self._body(one)),
        }
        return (make[name](one, visit) for one, visit in self._turns())

    def bare(self, name: str) -> Iterator[Request]:
        """The same to the bare handler."""
        make: Mapping[str, Callable[[Patient, str], Request]] = {
            "list": lambda one, _: Request("GET", f"/list/{one.account}", _bearer(one)),
            "detail": lambda one, visit: Request("GET", f"/detail/{one.account}/{visit}", _bearer(one)),
            "create": lambda one, _: Request("POST", f"/create/{one.account}", _keyed(one), self._body(one)),
        }
        return (make[name](one, visit) for one, visit in self._turns())

    def _turns(self) -> Iterator[tuple[Patient, str]]:
        return itertools.cycle([(one, visit) for number in range(VISITS_EACH) for one, visit in self._row(number)])

    def _row(self, number: int) -> list[tuple[Patient, str]]:
        return [(one, one.visits[number]) for one in self.patients]

    def _body(self, one: Patient) -> bytes:
        return json.dumps({**self._form, "patient_id": one.patient}, ensure_ascii=False).encode()


def _bearer(one: Patient) -> dict[str, str]:
    return {"Authorization": f"Bearer {one.token}"}


def _keyed(one: Patient) -> dict[str, str]:
    return _bearer(one) | {"Idempotency-Key": secrets.token_hex(16), "Content-Type": "application/json"}


@asynccontextmanager
async def clients() -> AsyncIterator[httpx.AsyncClient]:
    """A client that keeps its connections."""
    bounds = httpx.Limits(max_connections=BESIDE, max_keepalive_connections=BESIDE, keepalive_expiry=60)
    async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, limits=bounds) as http:
        yield http


async def set_scene(ground: Ground) -> Scene:
    """Patients with visits, made as people make them; NotAsPromised or Refused when the hospital does not play."""
    async with clients() as http:
        people = []
        for account, token in ground.patients(ACCOUNTS).items():
            person = Person(http, ground.url)
            person.token = token
            people.append((account, person))
        form = await _form(people[0][1])
        return Scene(await asyncio.gather(*(_settle(account, person, form) for account, person in people)), form)


async def _form(person: Person) -> dict[str, Any]:
    listed = await person.get("/doctors", service="consult")
    doctor = next(one for one in listed["items"] if one["fees"]["consult"] > 0)
    types = await person.get("/consult-types")
    texts = [await person.get(f"/consent-texts/{kind}") for kind in CONSENTED]
    return {
        "kind": "consult",
        "doctor_id": doctor["id"],
        "consult_type_id": types["items"][0]["id"],
        "condition": {
            "description": "近一周活动后胸闷，休息后缓解，夜间偶有咳嗽，没有发热",
            "duration": "一周",
            "history": "高血压五年，服药控制",
            "allergies": "青霉素",
        },
        "consents": [{"kind": text["kind"], "version": text["version"]} for text in texts],
    }


async def _settle(account: str, person: Person, form: Mapping[str, Any]) -> Patient:
    patient = await person.post(
        "/patients",
        {
            "name": "演示家属",
            "id_type": "01",
            "id_number": valid_id_number("19700101", secrets.randbelow(499) * 2 + 1),
            "gender": "1",
            "birth_date": "1970-01-01",
            "phone": "19900098888",
            "relation": "other",
        },
    )
    await person.post(f"/patients/{patient['id']}/verify")
    asked = {**form, "patient_id": patient["id"]}
    visits = [(await person.post("/visits", asked, key=secrets.token_hex(16)))["id"] for _ in range(VISITS_EACH)]
    return Patient(account, person.token, patient["id"], visits)


async def cpu_of(http: httpx.AsyncClient, target: Target, requests: Iterator[Request], count: int) -> dict[str, float]:
    """So many requests, `BESIDE` at a time: the server's CPU and the time of one. BenchFailed at the first refusal."""
    await _ask(http, target, itertools.islice(requests, WARM_REQUESTS))
    window = Window(target.pid)
    window.begin()
    await _ask(http, target, itertools.islice(requests, count))
    window.end()
    return {"cpu_ms": window.cpu / count * 1000, "per_second": count / window.seconds}


async def _ask(http: httpx.AsyncClient, target: Target, requests: Iterator[Request]) -> None:
    async def in_turn() -> None:
        for one in requests:  # shared: whoever is free takes the next
            url = f"http://{LOOPBACK}:{target.port}{one.path}"
            answer = await http.request(one.method, url, headers=dict(one.headers), content=one.content)
            if answer.status_code >= 300:
                raise BenchFailed(f"{one.method} {one.path}: {answer.status_code} {answer.text[:200]}")

    await asyncio.gather(*(in_turn() for _ in range(BESIDE)))


async def one_round(app: Target, bare: Target, scene: Scene, wanted: Sequence[str], rounds: Rounds) -> None:
    """Every wanted figure once, each next to its baseline."""
    async with clients() as http:
        for name in wanted:
            ours = await cpu_of(http, app, scene.hospital(name), REQUESTS[name])
            theirs = await cpu_of(http, bare, scene.bare(name), REQUESTS[name])
            rounds.note(
                **{
                    f"cpu_ratio_{name}": ours["cpu_ms"] / theirs["cpu_ms"],
                    **{f"{name}_{what}": value for what, value in ours.items()},
                    **{f"bare_{name}_{what}": value for what, value in theirs.items()},
                }
            )


async def run(wanted: Sequence[str], count: int) -> Rounds:
    """So many rounds. BenchFailed, CannotStart, StartFailed, NotAsPromised or Refused when nothing can be measured."""
    rounds = Rounds()
    async with open_ground(0, demo=True) as ground:
        scene = await set_scene(ground)
        app = await ground.fresh_app()
        async with bare_server("scripts.bench.bare_rest", ground.env) as bare, clients() as http:
            learnt = f"http://{LOOPBACK}:{bare.port}/learn/{scene.patients[0].visits[0]}"
            (await http.post(learnt)).raise_for_status()
            for number in range(count):
                print(f"round {number + 1} of {count}", file=sys.stderr, flush=True)
                await one_round(app, bare, scene, wanted, rounds)
    return rounds


def about(count: int) -> dict[str, Any]:
    """What the figures were measured with."""
    return {
        "rounds": count,
        "requests": dict(REQUESTS),
        "beside_each_other": BESIDE,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


BENCHMARK: Final = Benchmark("scripts.bench.rest", "What REST costs over its driver calls.", FIGURES, NAMES, run, about)


if __name__ == "__main__":
    sys.exit(main(BENCHMARK, sys.argv[1:]))
