import asyncio

import pytest

from core.tasks import spawn
from storage.ending import end

pytestmark = pytest.mark.gen_test


async def test_nothing_to_end_is_ended():
    await end([])


async def test_task_that_forgets_its_first_cancellation_is_ended_all_the_same():
    forgot = asyncio.Event()

    async def forgetful():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            forgot.set()
        await asyncio.Event().wait()

    async def failing():
        raise LookupError

    tasks = [spawn("forgetful", forgetful()), spawn("failing", failing())]
    await asyncio.sleep(0)
    await end(tasks)
    assert forgot.is_set()
    assert (tasks[0].cancelled(), type(tasks[1].exception())) == (True, LookupError)
