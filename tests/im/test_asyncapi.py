"""The AsyncAPI document says what the tables say, and what is really sent is of its forms."""

import json
import re

import pytest
from jsonschema import Draft202012Validator

from im.asyncapi import document
from im.commands import COMMANDS
from im.frames import CLOSES
from im.told import EVENTS

DOCUMENT = document()


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_op_and_event_is_an_operation():
    receive = {name for name, one in DOCUMENT["operations"].items() if one["action"] == "receive"}
    send = {name for name, one in DOCUMENT["operations"].items() if one["action"] == "send"}
    assert receive == {"hello", *COMMANDS}
    assert send == {f"{name}.event" for name in EVENTS}


def test_all_close_codes_are_listed():
    assert set(DOCUMENT["channels"]["socket"]["x-close-codes"]) == {str(int(code)) for code in CLOSES}


def test_every_reference_leads_somewhere():
    for reference in references(DOCUMENT):
        here = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            here = here[step.replace("~1", "/").replace("~0", "~")]


def test_it_is_plain_json_with_portable_patterns():
    text = json.dumps(DOCUMENT)
    assert r"\\Z" not in text
    for pattern in re.findall(r'"pattern": "([^"]*)"', text):
        re.compile(pattern)


def test_every_schema_is_a_json_schema():
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def fits(message: str, payload) -> None:
    schema = DOCUMENT["components"]["messages"][message]["payload"] | {"components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(payload)


@pytest.mark.gen_test(timeout=20)
async def test_what_is_sent_is_of_the_documented_forms(server, visit):
    patient, doctor = await server.line(visit.patient), await server.line(visit.doctor, "doctor")
    asked = [
        ("message.send", {"conversation": visit.id, "kind": "text", "body": {"text": "x"}}),
        ("message.send", {"conversation": visit.id, "kind": "emoji", "body": {"code": "none"}}),
        ("typing", {"conversation": visit.id}),
        ("ping", {}),
        ("message.read", {"conversation": visit.id, "seq": 1}),
        ("message.recall", {"conversation": visit.id, "seq": 1}),
        ("sync", {"cursors": {visit.id: 0}, "limit": 10}),
    ]
    for number, (op, args) in enumerate(asked):
        frame, answer = patient.ask(op, f"q{number}", **args)
        fits(op, frame) if args.get("body") != {"code": "none"} else None
        await patient.write(frame)
        fits(f"{op}.reply", await answer)
    await doctor.event("message.created", seq=2)
    await server.hub.drain(0)
    await doctor.closed()
    assert {one["ev"] for one in doctor.events} == {"message.created", "typing", "message.read", "drain"}
    for one in doctor.events:
        fits(f"{one['ev']}.event", one)
