"""Every door of the REST API is asked by what its own document says, right and wrong, made by schemathesis.

The hospital stays in the test's loop; the requests come from a thread. Seed and number of examples are fixed.
"""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

import requests

from app.wiring import routes_of
from core.openapi import document
from scripts.demo import DEMO_PASSWORDS, read
from scripts.demo.load import load
from tests.abuse.listening import listening
from tests.hospital import TestHospital, open_test_hospital
from tests.people import in_progress

EXAMPLES = {GenerationMode.POSITIVE: 5, GenerationMode.NEGATIVE: 8}
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
]
SETTINGS = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(scope="module")
def abused(io_loop, mongo_uri, redis_url, tmp_path_factory) -> Iterator[TestHospital]:
    """A hospital of its own: what is let in may change its settings."""
    opened = open_test_hospital(mongo_uri, redis_url, "abused", tmp_path_factory.mktemp("abused"))
    running = io_loop.run_sync(opened.__aenter__, timeout=60)
    io_loop.run_sync(lambda: load(running.ctx, production=False), timeout=120)
    yield running
    io_loop.run_sync(lambda: opened.__aexit__(None, None, None), timeout=60)
