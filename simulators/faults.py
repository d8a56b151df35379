"""Ways to make a simulator misbehave, and what its handlers share.

`POST /_control/faults {"fault": "down", "times": 2}` sets one fault for the next two calls (without `times`: until it
is taken away), `DELETE` takes it away, `GET` shows it. Every simulator knows `down` (the connection is dropped without
an answer) and `timeout` (no answer until the caller gives up); those that answer in the vendor's words take a `code`.
"""

import asyncio
from typing import Any

from tornado.web import Finish, HTTPError, RequestHandler

from simulators.control import ControlHandler
from simulators.store import Store

# Longer than any caller waits; it only keeps a forgotten connection from being held for ever.
_SILENCE_SECONDS = 60


class Faults:
    """The fault that is switched on; remembered in the store."""

    def __init__(self, store: Store, kinds: frozenset[str]) -> None:
        self._store = store
        self.kinds = kinds | {"down", "timeout"}

    def show(self) -> dict[str, Any] | None:
        """The fault as it was set, with the calls still to be spoilt."""
        return self._store.latest("fault", "")

    def switch_on(self, fault: dict[str, Any]) -> None:
        """Take the place of the fault before."""
        self._store.replace("fault", "", 0.0, fault)

    def switch_off(self) -> None:
        """Answer truly again."""
        self._store.remove("fault", "")

    def take(self) -> dict[str, Any] | None:
        """The fault for this call, counted."""
        fault = self.show()
        if fault is not None and fault["times"] is not None:
            if fault["times"] > 1:
                self.switch_on({**fault, "times": fault["times"] - 1})
            else:
                self.switch_off()
        return fault


class FaultsHandler(ControlHandler):
    """The switch itself."""

    @property
    def faults(self) -> Faults:
        """The simulator's faults."""
        faults: Faults = self.application.settings["faults"]
        return faults

    def get(self) -> None:
        """What is switched on."""
        self.reply({"fault": self.faults.show()})

    def post(self) -> None:
        """Switch one on."""
        body = self.body()
        kind, times = body.get("fault"), body.get("times")
        if kind not in self.faults.kinds:
            raise HTTPError(400, reason=f"fault is one of {', '.join(sorted(self.faults.kinds))}")
        if times is not None and (type(times) is not int or times < 1):
            raise HTTPError(400, reason="times is a count from 1, or absent")
        if kind not in {"down", "timeout"} and not body.get("code"):
            raise HTTPError(400, reason="code is what the vendor would say")
        self.faults.switch_on({"fault": kind, "code": body.get("code"), "times": times})
        self.set_status(204)

    def delete(self) -> None:
        """Switch it off."""
        self.faults.switch_off()
        self.set_status(204)


class VendorHandler(RequestHandler):
    """Base of what the vendor offers: suffers the fault first. Subclasses look at `fault` for their own kinds."""

    fault: dict[str, Any] | None = None

    async def prepare(self) -> None:
        """Drop or hold the connection when the switch says so."""
        self._gone = asyncio.Event()
        faults: Faults = self.application.settings["faults"]
        self.fault = faults.take()
        kind = self.fault["fault"] if self.fault else None
        if kind == "timeout":
            try:
                await asyncio.wait_for(self._gone.wait(), _SILENCE_SECONDS)
            except TimeoutError:
                kind = "down"
            else:
                raise Finish
        if kind == "down":
            self.detach().close()

    def on_connection_close(self) -> None:
        """The caller gave up."""
        self._gone.set()
