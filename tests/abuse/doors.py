"""The doors of the REST API as they are wired: pattern and method."""

import re
from functools import cache
from typing import Any

from app.wiring import routes_of
from core.http import Endpoint, methods_of, sign_of
from core.ids import new_id
from tests.abuse.admission import Row

Door = tuple[str, str]

# The doors behind the subjects that are whole addresses.
LINKS = {"{link}": "/api/v1/media/{medium}/content", "{recording_link}": "/api/v1/calls/{call}/recording/content"}


@cache
def _handlers() -> dict[Door, Any]:
    found = {}
    for pattern, handler, *_ in routes_of("api"):
        found |= {(pattern, method): handler for method in methods_of(handler)}
    return found


def served() -> set[Door]:
    """(pattern, method) of everything that is answered over REST."""
    return set(_handlers())


def sign_at(door: Door) -> Endpoint | None:
    """The sign on a door; None: it is open without one."""
    return sign_of(_handlers()[door], door[1].lower())


def doors_of(row: Row) -> set[Door]:
    """The doors that a row knocks at."""
    path = row.path.partition("?")[0]
    path = LINKS.get(path.replace("{forged_", "{"), path)
    path = re.sub(r"\{\w+\}", new_id(), path)
    return {(pattern, method) for pattern, method in served() if method == row.method and re.fullmatch(pattern, path)}
