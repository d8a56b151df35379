"""The simulator as a Tornado application."""

import time
from collections.abc import Callable
from pathlib import Path

from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler

from simulators.wechat_pay import handlers, switchboard
from simulators.wechat_pay.gateway import Gateway
from simulators.wechat_pay.keys import ensure_keys


def make_app(state_dir: Path, keys_dir: Path, *, now: Callable[[], float] = time.time) -> Application:
    """The simulator, its keys created where they were missing; the loop it starts on must be the current one.

    `now` answers seconds since 1970: what is signed, expires and is due goes by it.

    The settings hold `gateway` (the `Gateway`) and `stop` (an async function to await at the end).
    """
    gateway = Gateway(state_dir, ensure_keys(keys_dir), now)
    IOLoop.current().add_callback(gateway.start)
    return Application(
        [*switchboard.ROUTES, *handlers.ROUTES],
        default_handler_class=handlers.UnknownHandler,
        log_function=_keep_quiet,
        gateway=gateway,
        stop=gateway.stop,
    )


def _keep_quiet(handler: RequestHandler) -> None:
    """No access log: addresses carry order numbers, and a load run would write thousands of lines."""
