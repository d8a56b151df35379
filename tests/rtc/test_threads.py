"""The threads beside the loop."""

import threading

import pytest

from rtc.threads import Threads

pytestmark = pytest.mark.gen_test(timeout=20)


async def test_work_is_done_in_order_in_threads_that_end():
    threads, order, go = Threads(), [], threading.Event()
    first = threads.write(lambda: (go.wait(5), order.append(1)))
    second = threads.write(lambda: order.append(2))
    name = await threads.handle(lambda: threading.current_thread().name)
    go.set()
    await first
    await second
    assert order == [1, 2]
    assert name.startswith("rtc-files")
    threads.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rtc-")]


async def test_what_the_work_raises_is_raised():
    threads = Threads()
    with pytest.raises(ZeroDivisionError):
        await threads.write(lambda: 1 // 0)
    threads.close()
