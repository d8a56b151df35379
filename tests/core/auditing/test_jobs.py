import pytest

from app.wiring import PERIODIC
from core.auditing import jobs


@pytest.mark.gen_test
async def test_a_worker_seals_what_was_appended(trail):
    await trail.write(2)
    await jobs.keep_audit_trail(trail.ctx)
    assert [entry["block"] for entry in await trail.every()] == [1, 1]


def test_the_worker_looks_often_enough_for_the_alarm():
    assert {run: seconds for seconds, run in PERIODIC}[jobs.keep_audit_trail] <= 5
