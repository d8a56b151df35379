"""The folder that holds all of an embedded hospital: stores, keys, simulators, logs. One server at a time uses it.

- hospital.json   the marker: this folder is ours, and may be emptied by --fresh
- .lock           held by the running server
- keys/           secrets made once, readable by their owner alone; without them the data cannot be read
- mongo/ redis/   the embedded stores
- simulators/     what the outside world remembers
- recordings/     of calls, until the file store has them
- logs/           of the application and the simulators
- running.json    addresses, while a server runs
"""

import base64
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.bootstrap import CannotStart

MARKER = "hospital.json"
MARK = {"made_by": "scripts/server", "form": 1}
LOCK = ".lock"
# The prefix by which app.settings refuses them in production.
TOKEN_KEY = "demo-token-1"  # noqa: S105  # the name of a key
FIELD_KEY = "demo-field-1"
_KEY_BYTES = 32


class DataFolder:
    """An opened folder: marked as ours and locked until `close`, or until this process dies."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path, *, fresh: bool = False) -> "DataFolder":
        """Make or take over the folder; `fresh` empties it first. CannotStart when it is not ours or in use."""
        path = path.absolute()
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            _require_ours(path)
            lock = _take(path)
            if fresh:
                _empty(path)
            _write(path / MARKER, json.dumps(MARK))
        except OSError as error:
            raise CannotStart(f"the data folder {path} cannot be used: {error.strerror}") from error
        return cls(path, lock)

    def close(self) -> None:
        """Let another server use it."""
        (self.path / "running.json").unlink(missing_ok=True)
        os.close(self._lock)

    @property
    def keys(self) -> Path:
        """Where the keys lie, ours and those the simulators share with the hospital."""
        return self.path / "keys"

    @property
    def simulators(self) -> Path:
        """What the simulators remember."""
        return self.path / "simulators"

    @property
    def recordings(self) -> Path:
        """What call processes record, until the file store has it."""
        return self.path / "recordings"

    @property
    def logs(self) -> Path:
        """Where the children write."""
        return self.path / "logs"

    def secrets(self) -> dict[str, str]:
        """The secrets of app.settings, made at the first call. CannotStart when data are there without their keys."""
        file = self.keys / "settings.json"
        if not file.exists():
            if (self.path / "mongo" / "data").exists():
                raise CannotStart(f"{file} is gone and the data cannot be read without it: put it back, or use --fresh")
            self.keys.mkdir(exist_ok=True, mode=0o700)
            _write(file, json.dumps(new_secrets(), indent=2) + "\n")
        try:
            found: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CannotStart(f"{file} cannot be read: {type(error).__name__}") from error
        if not isinstance(found, dict) or found.keys() < new_secrets().keys():
            raise CannotStart(f"{file} is damaged: it does not hold the keys it was made with")
        return found

    def note(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a small JSON file beside the data, whole or not at all."""
        _write(self.path / name, json.dumps(content, indent=2) + "\n")

    def noted(self, name: str) -> Any:
        """What was noted under the name; None when nothing readable was."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def new_secrets() -> dict[str, str]:
    """Everything secret that app.settings asks for, drawn at random."""

    def draw() -> str:
        return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()

    return {
        "TOKEN_KEYS": json.dumps({TOKEN_KEY: draw()}),
        "TOKEN_KEY": TOKEN_KEY,
        "FIELD_KEYS": json.dumps({FIELD_KEY: draw()}),
        "FIELD_KEY": FIELD_KEY,
        "BLIND_INDEX_KEY": draw(),
        "CODE_KEY": draw(),
        "LINK_KEY": draw(),
    }


def _require_ours(path: Path) -> None:
    if not any(entry.name != LOCK for entry in path.iterdir()):
        return
    try:
        mark = json.loads((path / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        mark = None
    if not isinstance(mark, dict) or mark.get("made_by") != MARK["made_by"]:
        raise CannotStart(f"{path} holds things that are not a hospital's: name another folder with --data-dir")
    if mark != MARK:
        raise CannotStart(f"{path} was made by another version ({mark.get('form')}) of scripts/server")


def _take(path: Path) -> int:
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode(errors="replace").strip()
        os.close(lock)
        raise CannotStart(f"another server (process {holder or 'unknown'}) is using {path}") from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _empty(path: Path) -> None:
    """All but the marker and the lock; the marker stays, so that one who is interrupted here can begin again."""
    for entry in path.iterdir():
        if entry.name in (MARKER, LOCK):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _write(file: Path, content: str) -> None:
    """Whole or not at all, readable by its owner alone."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
