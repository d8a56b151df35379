import asyncio

import pytest
import structlog

from core import tasks


@pytest.mark.gen_test
async def test_a_failing_task_is_logged_under_its_name():
    async def fail() -> None:
        raise ValueError("broken")

    with structlog.testing.capture_logs() as said:
        task = tasks.spawn("test.failing", fail())
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert [(line["event"], line["task"]) for line in said] == [("task.failed", "test.failing")]
    assert "test.failing" not in tasks.running()


@pytest.mark.gen_test
async def test_stopped_tasks_have_ended_and_say_nothing():
    with structlog.testing.capture_logs() as said:
        task = tasks.spawn("test.endless", asyncio.Event().wait())
        assert "test.endless" in tasks.running()
        await tasks.stop(task, None)
    assert task.cancelled()
    assert said == []
