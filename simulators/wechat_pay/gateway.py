"""The parts of the simulator put together, and their life."""

from collections.abc import Callable
from pathlib import Path

from simulators.wechat_pay.bank import Bank
from simulators.wechat_pay.bills import Shelf
from simulators.wechat_pay.courier import Courier
from simulators.wechat_pay.keys import Keys
from simulators.wechat_pay.state import State

STATE_FILE = "wechat_pay.sqlite3"


class Gateway:
    """Keys, memory, money and messenger. `start()` inside the running loop, `stop()` at the end."""

    def __init__(self, state_dir: Path, keys: Keys, now: Callable[[], float]) -> None:
        self.keys = keys
        self.now = now
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.state = State(state_dir / STATE_FILE)
        self.bank = Bank(keys, self.state, now, self._changed)
        # Addresses of bills die with the process, as the vendor's do after some minutes.
        self.shelf = Shelf()
        self.courier = Courier(keys, self.state, self.bank, now)

    def start(self) -> None:
        """Go on with what an earlier run left: refunds to end and notifications to send."""
        self.courier.start()

    async def stop(self) -> None:
        """Put everything away; nothing is lost, as nothing is after a kill."""
        await self.courier.stop()
        self.state.close()

    async def reset(self) -> None:
        """Forget all orders, refunds, notifications and switches; the keys stay."""
        await self.courier.drop()
        self.state.clear()
        self.courier.wake()

    def _changed(self) -> None:
        self.courier.wake()
