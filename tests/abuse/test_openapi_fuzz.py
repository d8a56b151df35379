"""Every operation of the REST API asked as its own document says, rightly and wrongly, by schemathesis.

The hospital stays in the test's loop; schemathesis asks from a thread. What is asked is the same in every run.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import requests
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, BaseSchema, Case, GenerationMode
from schemathesis.config import ChecksConfig, GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.config._checks import NegativeDataRejectionConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from app.wiring import openapi
from core.ids import new_id
from core.policy import Policy
from scripts.demo import DEMO_PASSWORDS, read
from scripts.demo.load import load
from tests.abuse.asking import QUICKLY
from tests.abuse.listening import listening
from tests.hospital import TestHospital, open_test_hospital
from tests.people import in_progress

EXAMPLES = {GenerationMode.POSITIVE: 3, GenerationMode.NEGATIVE: 5}
NOT_OBJECTS = (b"\xff\xfe", b"{", b"[]", b"null", b'{"a":' * 5_000, b'{"a":NaN}', b'{"a":"\\ud800"}', b"9" * 5_000)
# How something wrong may be refused; 412 is tus's word for another version of it.
REFUSED = [400, 401, 403, 404, 409, 410, 412, 413, 415, 422, 428, 429]
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
]
# High enough that what is answered is about the request and not about how many there were.
POLICY = Policy(
    login_per_minute_per_address=100_000,
    sms_hourly_per_address=10_000,
    socket_messages_per_minute=100_000,
    visits_per_hour=10_000,
    uploads_per_hour=100_000,
    identity_checks_per_day=1_000,
)


schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


@pytest.fixture(scope="module")
def abused(io_loop, mongo_uri, redis_url, tmp_path_factory) -> Iterator[TestHospital]:
    """A hospital of the module's own: a right request may change its settings."""
    folder = tmp_path_factory.mktemp("abused")
    opened = open_test_hospital(mongo_uri, redis_url, "abused", folder, policy=POLICY)
    running = io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: load(running.ctx, production=False), timeout=120)
    yield running
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)


@dataclass
class Asked:
    """Who asks about what, and what was wrong with the answers."""

    url: str
    tokens: dict[str, str]
    known: dict[str, str]
    session: requests.Session = field(default_factory=requests.Session)
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def as_role(self, role: str | None) -> dict[str, str]:
        """The headers of somebody with this role; None: nobody."""
        return {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}

    def take(self, case: Case, role: str | None) -> None:
        """Ask, and keep what the document does not allow."""
        answer = case.call(base_url=self.url, headers=self.as_role(role), session=self.session, timeout=10)
        self.answers[answer.status_code] += 1
        failures: list[Exception] = []
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as group:
            failures += group.exceptions
        if answer.status_code >= 500 or failures:
            said = "; ".join(str(failure) for failure in failures)
            self.wrong.append(f"{answer.status_code} {case.as_curl_command()[:500]}: {answer.content[:300]!r} {said}")


@pytest.fixture(scope="module")
def asked(io_loop, abused) -> Asked:
    """A token of every role; those of patient and doctor in a consultation whose ids are known."""
    return io_loop.run_sync(lambda: everyone(abused), timeout=60)


async def everyone(hospital: TestHospital) -> Asked:
    stage = await in_progress(hospital)
    await stage.close()
    tokens = {"patient": stage.patient.token, "doctor": stage.doctor.token}
    for member in (*read("officers"), *read("pharmacists"), *read("nurses")):
        if member["role"] not in tokens:
            person = await hospital.person().login_by_password(member["account"], DEMO_PASSWORDS[member["role"]])
            tokens[member["role"]] = person.token
    begun = await stage.patient.send(
        "POST", "/media/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "100000"}
    )
    known = {
        "upload_id": begun.headers["Location"].rpartition("/")[2],
        "visit_id": stage.found["visit"]["id"],
        "order_id": stage.found["visit"]["order"]["id"],
        "doctor_id": stage.found["doctor"]["id"],
        "patient_id": stage.found["patient"]["id"],
        "media_id": stage.found["images"][0]["id"],
        "kind": "consult_notice",
        "call_id": new_id(),
    }
    return Asked(hospital.url, tokens, known)


def described() -> BaseSchema:
    """Our own document as schemathesis reads it; the tokens are ours to choose."""
    generation = GenerationConfig(with_security_parameters=False)
    refusing = ChecksConfig(negative_data_rejection=NegativeDataRejectionConfig(expected_statuses=REFUSED))
    project = ProjectConfig(generation=generation, checks=refusing)
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    return schemathesis.openapi.from_dict(openapi(), config=config)


def ask(operation: APIOperation, mode: GenerationMode, asked: Asked) -> None:
    """Some requests of the operation, by whoever may make them, half of them about what there is."""
    roles = operation.definition.raw.get("x-roles", [None])

    @settings(QUICKLY, max_examples=EXAMPLES[mode])
    @given(case=operation.as_strategy(mode), role=st.sampled_from(roles), at_known=st.booleans())
    def one(case: Case, role: str | None, at_known: bool) -> None:
        # What is deleted cannot be asked about afterwards.
        if at_known and operation.method != "delete":
            case.path_parameters.update(
                {name: asked.known.get(name, said) for name, said in case.path_parameters.items()}
            )
        asked.take(case, role)

    one()


def has_form(operation: APIOperation) -> bool:
    """Whether a request of it can be wrong: ids are any words, and a raw body is any bytes."""
    raw = operation.definition.raw
    asked_for = [
        one for one in raw["parameters"] if one["in"] == "query" or (one["in"] == "header" and "required" in one)
    ]
    return bool(asked_for) or "application/json" in raw.get("requestBody", {}).get("content", {})


def ask_in_every_way(asked: Asked) -> None:
    """All operations, in the document's order."""
    for operation in (found.ok() for found in described().get_all_operations()):
        ask(operation, GenerationMode.POSITIVE, asked)
        if has_form(operation):
            ask(operation, GenerationMode.NEGATIVE, asked)


@pytest.mark.gen_test(timeout=110)
async def test_every_operation_answers_as_documented_whatever_it_is_sent(asked):
    with listening() as heard:
        await asyncio.to_thread(ask_in_every_way, asked)
    assert asked.wrong == []
    assert heard.errors == []
    # Enough of every kind that the walk has not stayed at the doors.
    assert asked.answers[200] + asked.answers[201] + asked.answers[204] > 50
    assert asked.answers[422] > 50


@pytest.mark.gen_test(timeout=60)
async def test_a_body_that_is_no_json_object_is_malformed_everywhere(abused, asked):
    answers = Counter()
    with listening() as heard:
        for path, operations in openapi()["paths"].items():
            for method, one in operations.items():
                if "application/json" not in one.get("requestBody", {}).get("content", {}):
                    continue
                headers = {**asked.as_role(one.get("x-roles", [None])[0]), "Idempotency-Key": "one-key"}
                address = abused.url + re.sub(r"{(\w+)}", lambda name: asked.known.get(name[1], "none"), path)
                for raw in NOT_OBJECTS:
                    answer = await abused.http.request(method, address, content=raw, headers=headers)
                    answers[answer.status_code, answer.json()["code"]] += 1
    assert list(answers) == [(400, "malformed")]
    assert heard.errors == []
