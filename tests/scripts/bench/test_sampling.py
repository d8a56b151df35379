import mmap
import os
import resource
import threading
import time

import pytest

from scripts.bench.sampling import cpu_seconds, resident_bytes


def burn(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_cpu_time_counts_every_thread_of_the_process():
    before = cpu_seconds(os.getpid())
    thread = threading.Thread(target=burn, args=(0.15,))
    thread.start()
    burn(0.15)
    thread.join()
    used = resource.getrusage(resource.RUSAGE_SELF)
    after = cpu_seconds(os.getpid())
    assert after - before >= 0.27
    assert after == pytest.approx(used.ru_utime + used.ru_stime, abs=0.1)


def test_memory_grows_by_what_is_taken():
    piece = bytes(2**20)
    # Pages of its own: the heap may have as much left over from other tests.
    with mmap.mmap(-1, 64 * 2**20) as taken:
        before = resident_bytes(os.getpid())
        for _ in range(64):
            taken.write(piece)
        grown = resident_bytes(os.getpid()) - before
    assert 60 * 2**20 <= grown <= 80 * 2**20


def test_a_process_that_is_gone_is_not_found():
    with pytest.raises(FileNotFoundError):
        cpu_seconds(2**22 + 1)
