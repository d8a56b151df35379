"""What the hospital would have written to its log meanwhile."""

import json
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog


class Heard(logging.Handler):
    """Lines of both kinds, as one JSON text each, with their exceptions."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)  # as app/logs.py sets up the libraries, whatever our own level
        self.lines: list[str] = []
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        said = {"logger": record.name, "event": record.getMessage(), "args": repr(record.args)}
        if record.exc_info:
            said["exception"] = logging.Formatter().formatException(record.exc_info)
        self._keep(record.levelname.lower(), said)

    def take(self, logger: Any, method: str, event: dict[str, Any]) -> Any:
        """A processor of structlog that ends the line here."""
        self._keep(event["level"], event)
        raise structlog.DropEvent

    def _keep(self, level: str, said: dict[str, Any]) -> None:
        line = json.dumps(said, default=repr, ensure_ascii=False)
        self.lines.append(line)
        if level in ("error", "critical"):
            self.errors.append(line)


class Secrets:
    """Everything that nobody may read in a log, collected as it is said."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def word(self, name: str) -> str:
        """A free text of its own, the name of its field in it."""
        return self.keep(name, f"秘密 {name} {secrets.token_hex(4)}")

    def keep(self, name: str, value: str) -> str:
        """This value, too."""
        self.said[name] = value
        return value

    def found_in(self, text: str) -> list[str]:
        """The names of those that stand in the text, as they are or as JSON and repr escape them."""
        return [name for name, said in self.said.items() if said in text or ascii(said)[1:-1] in text]


@contextmanager
def listening() -> Iterator[Heard]:
    """Everything that is logged until the end, structlog's from debug on."""
    heard = Heard()
    # Changed in place, as structlog's own capture_logs does: loggers that are bound already hold this very list.
    processors = structlog.get_config()["processors"]
    before = processors.copy()
    root = logging.getLogger()
    processors[:] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        heard.take,
    ]
    root.addHandler(heard)
    try:
        yield heard
    finally:
        root.removeHandler(heard)
        processors[:] = before
