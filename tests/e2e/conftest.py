"""One loop and one hospital for all tests here; `scripts/test --system` runs them in a process of their own."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.clinic import Clinic, open_clinic

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request) -> Callable[[str, float], None]:
    """Told by a test and shown at the end of the run: this machine's figure beside the one that is promised."""
    figures = request.config.stash.setdefault(FIGURES, [])
    return lambda what, value: figures.append(f"{value:7.2f}  {what}")


def pytest_terminal_summary(terminalreporter, config) -> None:
    for line in config.stash.get(FIGURES, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """Its loop lives across tests, as the hospital does."""
    with asyncio.Runner() as one:
        yield one


@pytest.fixture(scope="session")
def clinic(runner) -> Iterator[Clinic]:
    opened = open_clinic()
    yield runner.run(opened.__aenter__())
    runner.run(opened.__aexit__(None, None, None))
