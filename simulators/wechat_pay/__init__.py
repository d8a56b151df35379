"""WeChat Pay APIv3 as a merchant meets it: JSAPI orders, refunds, daily bills, signed answers, encrypted notifications.

The wire is the vendor's in both directions (pay.weixin.qq.com/doc/v3): a request must be signed by the merchant's key
within five minutes, an answer is signed by the platform's, an event is encrypted, posted to the order's `notify_url`
and posted again at the vendor's intervals until it is answered with 200 or 204 within 5 s. Plain `http` is taken in a
`notify_url` only towards this machine. Orders unpaid at `time_expire` are closed. Everything is in one SQLite file, and
a new start goes on where a killed one stopped. A day's bill can be had from 10:00 of the next day on, in the time of
China. The keys are told in `simulators.wechat_pay.keys`.

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

from simulators.wechat_pay.app import make_app

__all__ = ["make_app"]
