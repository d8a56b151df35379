"""The two threads beside a media process' loop: one copies frames into files, one reads and hashes whole files."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """Started when first needed; a process has one of these, whatever number of calls it carries."""

    def __init__(self) -> None:
        self.writer: Executor = ThreadPoolExecutor(1, "rtc-writer")
        # Hashing a long recording must not keep the others' frames waiting.
        self.files: Executor = ThreadPoolExecutor(1, "rtc-files")

    def write(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Done after all that was given before, in the writer's thread."""
        return asyncio.get_running_loop().run_in_executor(self.writer, work)

    def handle(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """The same in the thread for whole files."""
        return asyncio.get_running_loop().run_in_executor(self.files, work)

    def close(self) -> None:
        """Wait until both have done what they were given, and end them."""
        self.writer.shutdown()
        self.files.shutdown()
