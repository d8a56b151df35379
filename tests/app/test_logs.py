import json
import os
import subprocess
import sys
from datetime import datetime

import pytest

# A process of its own: logging is set up once a process, and pytest has its own.
PROGRAM = """
import logging, structlog
from app import logs
logs.configure({level!r})
log = structlog.get_logger()
{body}
"""


def lines_of(body: str, *, level: str = "info", encoding: str = "utf-8") -> list[dict]:
    """What a process that does this writes to standard output."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(level=level, body=body)],
        env=environment,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_line_is_one_json_object_with_level_and_time():
    [line] = lines_of("log.info('app.ready', port=8080, role='all')")
    told = datetime.fromisoformat(line.pop("timestamp"))
    assert told.utcoffset().total_seconds() == 0
    assert line == {"event": "app.ready", "level": "info", "port": 8080, "role": "all"}


def test_below_the_level_nothing_is_written():
    assert [line["event"] for line in lines_of("log.debug('a'); log.info('b')")] == ["b"]
    assert [line["event"] for line in lines_of("log.info('a'); log.error('b')", level="error")] == ["b"]


def test_an_exception_stays_on_its_line():
    [line] = lines_of("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('task.failed', task='a')")
    assert (line["event"], line["level"], line["task"]) == ("task.failed", "error", "a")
    assert line["exception"].splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_an_exception_at_hand_is_told_like_a_caught_one():
    [line] = lines_of("log.error('task.failed', exc_info=ValueError('a bug'))")
    assert line["exception"] == "ValueError: a bug"


def test_libraries_speak_in_the_same_shape_from_warnings_on():
    said = (
        "logging.getLogger('tornado.general').info('chatter')\n"
        "try:\n    1 / 0\n"
        "except ZeroDivisionError:\n    logging.getLogger('tornado.application').exception('Uncaught %s', 'error')"
    )
    [line] = lines_of(said)
    assert (line["event"], line["level"]) == ("Uncaught error", "error")
    assert line["exception"].endswith("ZeroDivisionError: division by zero")
    assert "timestamp" in line


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "gb2312"])
def test_any_text_can_be_written_to_any_output(encoding):
    said = "log.error('a', said='您好 \\ud800 😀', exc_info=ValueError('\\udcff')); log.info('b', thing=object())"
    first, second = lines_of(said, encoding=encoding)
    assert (first["said"], first["exception"]) == ("您好 \ud800 😀", "ValueError: \udcff")
    assert second["thing"].startswith("<object object")
