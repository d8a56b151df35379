"""What a simulator must not forget when it is killed: JSON documents in one SQLite file."""

import json
import sqlite3
from pathlib import Path
from typing import Any


class Store:
    """Documents under (kind, key), newest last. Each write is on its way to disk before it returns."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS documents"
            " (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL)"
        )
        self._db.execute("CREATE INDEX IF NOT EXISTS by_key ON documents (kind, key, at)")

    async def stop(self) -> None:
        """Close the file; the store cannot be used again. Fits the application's setting `stop`."""
        self._db.close()

    def append(self, kind: str, key: str, at: float, body: dict[str, Any]) -> None:
        """Add a document beside those of the same key; `at` in Unix seconds."""
        self._db.execute(
            "INSERT INTO documents (kind, key, at, body) VALUES (?, ?, ?, ?)", (kind, key, at, _dump(body))
        )

    def replace(self, kind: str, key: str, at: float, body: dict[str, Any]) -> None:
        """Make this the only document of its key."""
        with self._db:
            self._db.execute("BEGIN")
            self.remove(kind, key)
            self.append(kind, key, at, body)

    def remove(self, kind: str, key: str) -> None:
        """Forget all documents of the key."""
        self._db.execute("DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key))

    def forget(self, kind: str, before: float) -> None:
        """Drop all documents of a kind older than `before`."""
        self._db.execute("DELETE FROM documents WHERE kind = ? AND at < ?", (kind, before))

    def latest(self, kind: str, key: str) -> dict[str, Any] | None:
        """The newest document of the key."""
        row = self._db.execute(
            "SELECT body FROM documents WHERE kind = ? AND key = ? ORDER BY id DESC LIMIT 1", (kind, key)
        ).fetchone()
        return None if row is None else _load(row[0])

    def all(self, kind: str, key: str, since: float = 0.0) -> list[dict[str, Any]]:
        """The documents of the key that are as new as `since`, oldest first."""
        rows = self._db.execute(
            "SELECT body FROM documents WHERE kind = ? AND key = ? AND at >= ? ORDER BY id", (kind, key, since)
        )
        return [_load(body) for (body,) in rows]

    def count(self, kind: str, key: str, since: float = 0.0) -> int:
        """How many documents of the key are as new as `since`."""
        row = self._db.execute(
            "SELECT count(*) FROM documents WHERE kind = ? AND key = ? AND at >= ?", (kind, key, since)
        ).fetchone()
        return int(row[0])


def _dump(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False)


def _load(text: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(text)
    return body
