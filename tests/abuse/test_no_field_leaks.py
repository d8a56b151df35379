"""A marker in every text field of every body, query and op: none is in a line of the log or a label of the metrics."""

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from app.wiring import COMMANDS
from core.http import Endpoint
from core.ids import new_id
from im import schemas
from scripts.acting import Line, Refused
from tests.abuse.admission import EVERYBODY, NOBODY, NOT_YOURS, OPS, ROLE, ROUTES, Row
from tests.abuse.doors import doors_of, sign_at
from tests.abuse.listening import Heard, Secrets, listening
from tests.abuse.marking import Marker, is_free, texts_of
from tests.abuse.subjects import Subjects
from tests.core.partial import lift

# What a service must know for a body to get further than the door.
KNOWN = ("kind", "version", "consents", "attachments", "doctor_id", "patient_id", "consult_type_id", "values", "role")
# Secrets that the hospital makes, by the names under which it tells them.
TOLD_ONCE = ("access_token", "refresh_token", "ticket", "secret", "uri", "initial_password")


@pytest.fixture(scope="module")
def marks() -> Secrets:
    return Secrets()


@pytest.fixture(scope="module")
def sent() -> set[tuple[str, str]]:
    """(door, field) of every free text that stood in a body its schema let pass."""
    return set()


@pytest.fixture(scope="module")
def heard(io_loop, subjects, marks, sent) -> Iterator[Heard]:
    """What was logged while every door was knocked at with markers."""
    with listening() as lines:
        io_loop.run_sync(lambda: knock(subjects, marks, sent), timeout=90)
        yield lines


def sign_of_row(row: Row) -> Endpoint | None:
    """The sign on the door a row knocks at."""
    [door] = doors_of(row)
    return sign_at(door)


def admitted(row: Row) -> str:
    """Somebody who gets past the sign, to their own thing if they have one."""
    further = [who for who in EVERYBODY if row.answers[who] not in (NOBODY, ROLE, NOT_YOURS)]
    return (further or [who for who in EVERYBODY if row.answers[who] == NOT_YOURS] or ["anonymous"])[0]


def free_texts(schema: Any) -> set[str]:
    return {path for path, one in texts_of(schema) if is_free(one)}


def places(body: Any, path: str = "") -> set[str]:
    """The paths that a body has."""
    if isinstance(body, dict):
        return set().union(*(places(one, f"{path}.{name}" if path else name) for name, one in body.items()), {path})
    if isinstance(body, list):
        return set().union(*(places(one, path) for one in body), {path})
    return {path}


async def knock(subjects: Subjects, marks: Secrets, sent: set[tuple[str, str]]) -> None:
    house = subjects.house
    for who, person in subjects.people.items():
        marks.keep(f"{who}'s token", person.token or "no token yet")
    for row in ROUTES:
        sign = sign_of_row(row)
        if sign is None:
            continue
        who = admitted(row)
        if who in subjects.callers:
            await lift(house.ctx, subjects.callers[who])
        known = subjects.fill(row.body) if row.body else {}
        known = {name: value for name, value in known.items() if name in KNOWN}
        for schema, place in ((sign.body, "body"), (sign.query, "query")):
            if schema is None:
                await _send(subjects, row, who, {}, place, marks)
                continue
            marker = Marker(schema, row.asked, marks)
            for body in (marker.everywhere(), *marker.proper(known if place == "body" else {})):
                await _send(subjects, row, who, body, place, marks)
                if not schema.validate(body):
                    sent |= {(f"{place} {type(schema).__name__}", one) for one in places(body)}


async def _send(subjects: Subjects, row: Row, who: str, body: dict[str, Any], place: str, marks: Secrets) -> None:
    person, path = subjects.people[who], str(subjects.fill(row.path)).partition("?")[0]
    headers = {"Idempotency-Key": new_id()} | ({"Authorization": f"Bearer {person.token}"} if person.token else {})
    if place == "query":
        simple = {name: one for name, one in body.items() if isinstance(one, str | int)}
        path, body = f"{path}?{urlencode(simple)}", {}
    url = f"{subjects.house.url}{path}"
    answer = await subjects.house.http.request(row.method, url, headers=headers, json=body or None)
    assert answer.status_code < 500, (row.asked, body, answer.text)
    if answer.is_success and answer.headers.get("Content-Type", "").startswith("application/json"):
        for name, told in told_once(answer.json()):
            marks.keep(f"{row.asked} answers {name} {len(marks.said)}", told)


def told_once(answer: Any) -> Iterator[tuple[str, str]]:
    """Their names and values, wherever they stand in an answer."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name in TOLD_ONCE and isinstance(value, str):
                yield name, value
            yield from told_once(value)


@pytest.mark.gen_test(timeout=100)
async def test_nothing_written_into_any_field_of_rest_is_logged(heard, marks):
    assert len(marks.said) > 200
    assert {name: line for line in heard.lines for name in marks.found_in(line)} == {}
    assert heard.errors == []


@pytest.mark.gen_test(timeout=30)
async def test_every_free_text_of_every_schema_was_sent_past_its_door(heard, sent):
    missing = set()
    for row in ROUTES:
        sign = sign_of_row(row)
        for schema, place in ((sign.body, "body"), (sign.query, "query")) if sign else ():
            door = f"{place} {type(schema).__name__}"
            missing |= {(door, path) for path in (free_texts(schema) if schema else ())} - sent
    assert missing == set()


@pytest.mark.gen_test(timeout=60)
async def test_nothing_written_into_any_op_is_logged(subjects, marks):
    with listening() as lines:
        for row in OPS:
            marker = Marker(COMMANDS[row.path].args, row.asked, marks)
            for args in (marker.everywhere(), *marker.proper(subjects.fill(row.body))):
                await _ask(await subjects.line("owner"), row.path, args)
        for kind, schema in schemas.BODIES.items():
            for body in Marker(schema, f"OP message.send {kind}", marks).proper({}):
                args = {"conversation": subjects.named["visit"], "kind": kind, "body": body}
                await _ask(await subjects.line("owner"), "message.send", args)
        hello = Marker(schemas.Hello(), "OP hello", marks)
        for args in (hello.everywhere(), *hello.proper({})):
            line = await Line.open(subjects.chat)
            await line.write({"id": "1", "op": "hello", "args": args})
            await line.closed.wait()
            await line.close()
    assert {name: line for line in lines.lines for name in marks.found_in(line)} == {}


async def _ask(line: Line, op: str, args: dict[str, Any]) -> None:
    with contextlib.suppress(Refused):
        await line.request(op, **args)


@pytest.mark.gen_test(timeout=30)
async def test_nothing_of_it_is_a_label_of_the_metrics(heard, subjects, marks):
    for url in (subjects.house.url, subjects.chat):
        shown = (await subjects.house.http.get(f"{url}/metrics")).text
        assert "http_request_seconds" in shown
        assert marks.found_in(shown) == []
