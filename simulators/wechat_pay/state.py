"""What the gateway remembers, in one SQLite file: a kill at any moment loses nothing that was committed.

Every call is one small statement (tens of microseconds), made on the loop; `transaction()` joins several.
"""

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simulators.wechat_pay.faults import Faults

TABLES = """
CREATE TABLE IF NOT EXISTS orders (
    out_trade_no TEXT PRIMARY KEY, appid TEXT NOT NULL, description TEXT NOT NULL, attach TEXT NOT NULL,
    total INTEGER NOT NULL, openid TEXT NOT NULL, notify_url TEXT NOT NULL, time_expire REAL NOT NULL,
    prepay_id TEXT NOT NULL, state TEXT NOT NULL, created_at REAL NOT NULL,
    transaction_id TEXT UNIQUE, paid_at REAL
);
CREATE TABLE IF NOT EXISTS refunds (
    out_refund_no TEXT PRIMARY KEY, refund_id TEXT NOT NULL UNIQUE, out_trade_no TEXT NOT NULL,
    amount INTEGER NOT NULL, reason TEXT NOT NULL, notify_url TEXT, status TEXT NOT NULL, reapplied INTEGER NOT NULL,
    created_at REAL NOT NULL, settle_at REAL, succeeded_at REAL
);
CREATE INDEX IF NOT EXISTS refunds_of_order ON refunds (out_trade_no);
CREATE INDEX IF NOT EXISTS refunds_to_settle ON refunds (settle_at) WHERE settle_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS notifications (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL, kind TEXT NOT NULL, event_type TEXT NOT NULL,
    original_type TEXT NOT NULL, subject TEXT NOT NULL, summary TEXT NOT NULL, url TEXT NOT NULL,
    content TEXT NOT NULL, created_at REAL NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, next_at REAL,
    last_status INTEGER
);
CREATE INDEX IF NOT EXISTS notifications_to_send ON notifications (next_at) WHERE next_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass
class Order:
    """One payment order; times in seconds since 1970, `total` in fen."""

    out_trade_no: str
    appid: str
    description: str
    attach: str
    total: int
    openid: str
    notify_url: str
    time_expire: float
    prepay_id: str
    state: str
    created_at: float
    transaction_id: str | None = None
    paid_at: float | None = None


@dataclass
class Refund:
    """One refund; `settle_at` is when it ends by itself, None when it has ended or is held."""

    out_refund_no: str
    refund_id: str
    out_trade_no: str
    amount: int
    reason: str
    notify_url: str | None
    status: str
    reapplied: int
    created_at: float
    settle_at: float | None = None
    succeeded_at: float | None = None


@dataclass
class Notification:
    """One message on its way to the merchant; `content` is what will be encrypted, `kind` is event or probe."""

    event_id: str
    kind: str
    event_type: str
    original_type: str
    subject: str
    summary: str
    url: str
    content: str
    created_at: float
    state: str
    attempts: int
    next_at: float | None
    last_status: int | None = None
    number: int | None = None


class State:
    """The tables. Closed with `close()`."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(TABLES)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block or nothing of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def order(self, out_trade_no: str) -> Order | None:
        """By the merchant's number."""
        found = self._rows("SELECT * FROM orders WHERE out_trade_no = ?", out_trade_no)
        return Order(**found[0]) if found else None

    def order_by_transaction(self, transaction_id: str) -> Order | None:
        """By WeChat Pay's number."""
        found = self._rows("SELECT * FROM orders WHERE transaction_id = ?", transaction_id)
        return Order(**found[0]) if found else None

    def orders(self) -> list[Order]:
        """All, oldest first."""
        return [Order(**row) for row in self._rows("SELECT * FROM orders ORDER BY created_at, out_trade_no")]

    def refund(self, out_refund_no: str) -> Refund | None:
        """By the merchant's number."""
        found = self._rows("SELECT * FROM refunds WHERE out_refund_no = ?", out_refund_no)
        return Refund(**found[0]) if found else None

    def refunds(self, out_trade_no: str) -> list[Refund]:
        """All of one order, oldest first."""
        rows = self._rows("SELECT * FROM refunds WHERE out_trade_no = ? ORDER BY created_at", out_trade_no)
        return [Refund(**row) for row in rows]

    def refunds_to_settle(self, until: float) -> list[Refund]:
        """Those whose time has come."""
        rows = self._rows("SELECT * FROM refunds WHERE settle_at <= ? ORDER BY settle_at", until)
        return [Refund(**row) for row in rows]

    def paid_between(self, begin: float, end: float) -> list[Order]:
        """Orders paid from `begin` on and before `end`, in the order of their payment."""
        rows = self._rows("SELECT * FROM orders WHERE paid_at >= ? AND paid_at < ? ORDER BY paid_at", begin, end)
        return [Order(**row) for row in rows]

    def refunds_between(self, begin: float, end: float) -> list[Refund]:
        """Refunds accepted from `begin` on and before `end`, oldest first."""
        rows = self._rows(
            "SELECT * FROM refunds WHERE created_at >= ? AND created_at < ? ORDER BY created_at", begin, end
        )
        return [Refund(**row) for row in rows]

    def notifications(self) -> list[Notification]:
        """All, oldest first."""
        return [Notification(**row) for row in self._rows("SELECT * FROM notifications ORDER BY number")]

    def notifications_to_send(self, until: float) -> list[Notification]:
        """Those whose time has come."""
        rows = self._rows("SELECT * FROM notifications WHERE next_at <= ? ORDER BY next_at, number", until)
        return [Notification(**row) for row in rows]

    def next_due(self, but: Collection[int]) -> float | None:
        """When something is to happen by itself, leaving out the notifications of these numbers."""
        places = ", ".join("?" for _ in but)
        # Nothing but question marks is put into the query.
        sending = f"SELECT min(next_at) AS at FROM notifications WHERE next_at > 0 AND number NOT IN ({places})"  # noqa: S608
        settling = "SELECT min(settle_at) AS at FROM refunds WHERE settle_at > 0"
        moments = [row["at"] for row in self._rows(sending, *but) + self._rows(settling)]
        return min((moment for moment in moments if moment is not None), default=None)

    def save(self, *records: Order | Refund | Notification) -> None:
        """Insert or overwrite by primary key; a new notification receives its number."""
        for record in records:
            table = {Order: "orders", Refund: "refunds", Notification: "notifications"}[type(record)]
            values = asdict(record)
            names, places = ", ".join(values), ", ".join(f":{name}" for name in values)
            # The names are those of our own dataclasses, never of a request.
            query = f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({places})"  # noqa: S608
            cursor = self._connection.execute(query, values)
            if isinstance(record, Notification):
                record.number = cursor.lastrowid

    def faults(self) -> Faults:
        """The switches as last set."""
        found = self._rows("SELECT value FROM settings WHERE name = 'faults'")
        return Faults().changed(json.loads(found[0]["value"])) if found else Faults()

    def set_faults(self, faults: Faults) -> None:
        """Remember the switches."""
        value = json.dumps(faults.document())
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES ('faults', ?)", (value,))

    def take(self, name: str) -> Faults | None:
        """Count one call of the switch `name` down and answer the switches; None when it is off."""
        faults = self.faults()
        left: int = getattr(faults, name)
        if left == 0:
            return None
        self.set_faults(faults.changed({name: left - 1}))
        return faults

    def clear(self) -> None:
        """Forget everything."""
        with self.transaction():
            for table in ("orders", "refunds", "notifications", "settings"):
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - the four names above

    def _rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self._connection.execute(query, values).fetchall()]
