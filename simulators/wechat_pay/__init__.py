"""WeChat Pay APIv3 as a merchant meets it: JSAPI orders, closing, refunds, signed answers, encrypted notifications.

The wire is the vendor's in both directions (pay.weixin.qq.com/doc/v3): a request must be signed by the merchant's key
within five minutes, an answer is signed by the platform's, an event is encrypted, posted to the order's `notify_url`
and posted again at the vendor's intervals until it is answered with 200 or 204 within 5 s. Plain `http` is taken in a
`notify_url` only towards this machine. Orders unpaid at `time_expire` are closed. Everything is in one SQLite file, and
a new start goes on where a killed one stopped. The keys are told in `simulators.wechat_pay.keys`.

Control, for callers on this machine; JSON both ways, refusals `{"error": …}` with 400, 404 or 409:

    POST /_control/pay/{out_trade_no}               pay as the user would; {"openid"} must be the order's, if given
    POST /_control/fail/{out_trade_no}              the user's bank refuses: PAYERROR, may still be paid
    GET  /_control/orders                           all orders with their refunds
    POST /_control/refund/{out_refund_no}/settle    end a PROCESSING refund; {"status": SUCCESS | ABNORMAL | CLOSED}
    GET  /_control/faults                           the switches, see simulators.wechat_pay.faults
    POST /_control/faults                           set some switches; the others stay
    GET  /_control/notifications                    each message: tries, last status, pending | delivered | probed |
                                                    given_up | dropped
    GET  /_control/ledger                           {"orders": {number: {paid, refunded, held}}, "held"} in fen
    POST /_control/reset                            forget everything but the keys
"""

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
