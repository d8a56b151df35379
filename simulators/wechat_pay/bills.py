"""The daily trade bill in the vendor's form (pay.weixin.qq.com/doc/v3, 下载账单: 交易账单, ALL).

A line a payment on the day it was paid, a line a refund on the day it was accepted; a backtick before each value, no
quotes, amounts in yuan, times of China; a first line of names and two last lines of sums.
"""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from simulators.wechat_pay.documents import CHINA
from simulators.wechat_pay.errors import Refused
from simulators.wechat_pay.state import Order, Refund, State

NAMES = (
    *("交易时间", "公众账号ID", "商户号", "特约商户号", "设备号", "微信订单号", "商户订单号", "用户标识", "交易类型"),
    *("交易状态", "付款银行", "货币种类", "应结订单金额", "代金券金额", "微信退款单号", "商户退款单号", "退款金额"),
    *("充值券退款金额", "退款类型", "退款状态", "商品名称", "商户数据包", "手续费", "费率", "订单金额", "申请退款金额"),
    "费率备注",
)
SUMS = (
    *("总交易单数", "应结订单总金额", "退款总金额", "充值券退款总金额", "手续费总金额", "订单总金额"),
    "申请退款总金额",
)
MADE_AT = time(10, tzinfo=CHINA)
# 0.60 % of the amount, in thousandths of a fen.
RATE = 6
REFUND_STATES = {"SUCCESS": "SUCCESS", "PROCESSING": "PROCESSING", "ABNORMAL": "FAIL", "CLOSED": "FAIL"}
KEPT = 32


class Shelf:
    """Files waiting to be fetched; the oldest make room for the newest."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, bytes] = OrderedDict()

    def put(self, content: bytes) -> str:
        """Keep a file; answers the token that fetches it."""
        token = secrets.token_urlsafe(32)
        self._files[token] = content
        while len(self._files) > KEPT:
            self._files.popitem(last=False)
        return token

    def get(self, token: str) -> bytes | None:
        """The file; None when there is none, or none any more."""
        return self._files.get(token)


def bill(mchid: str, state: State, day: date, now: float) -> bytes:
    """The bill of a day; `STATEMENT_CREATING` before it is made, `NO_STATEMENT_EXIST` when there is nothing in it."""
    begin = datetime.combine(day, time(tzinfo=CHINA))
    made = datetime.combine(day + timedelta(days=1), MADE_AT)
    if now < made.timestamp() and not state.faults().early_bills:
        raise Refused("STATEMENT_CREATING", "账单生成中")
    between = begin.timestamp(), (begin + timedelta(days=1)).timestamp()
    paid, refunded = state.paid_between(*between), state.refunds_between(*between)
    if not paid and not refunded:
        raise Refused("NO_STATEMENT_EXIST", "请求的账单文件不存在")
    lines = [(order.paid_at or 0, _payment(mchid, order)) for order in paid]
    lines += [(refund.created_at, _refund(mchid, state, refund)) for refund in refunded]
    rows = [row for _, row in sorted(lines, key=lambda line: line[0])]
    total, given = sum(order.total for order in paid), sum(refund.amount for refund in refunded)
    fees = sum(order.total for order in paid) - given
    sums = (str(len(rows)), _yuan(total), _yuan(given), _yuan(0), _fee(fees), _yuan(total), _yuan(given))
    text = [",".join(NAMES), *map(_line, rows), ",".join(SUMS), _line(sums)]
    return ("\r\n".join(text) + "\r\n").encode()


def _payment(mchid: str, order: Order) -> Sequence[str]:
    return (
        *_about(mchid, order, order.paid_at or 0, "SUCCESS"),
        *(_yuan(order.total), _yuan(0), "0", "0", _yuan(0), _yuan(0), "", "", order.description, order.attach),
        *(_fee(order.total), "0.60%", _yuan(order.total), _yuan(0), ""),
    )


def _refund(mchid: str, state: State, refund: Refund) -> Sequence[str]:
    order = state.order(refund.out_trade_no)
    if order is None:
        raise LookupError(refund.out_trade_no)
    status = REFUND_STATES[refund.status]
    return (
        *_about(mchid, order, refund.created_at, "REFUND"),
        *(_yuan(0), _yuan(0), refund.refund_id, refund.out_refund_no, _yuan(refund.amount), _yuan(0), "ORIGINAL"),
        *(status, order.description, order.attach, _fee(-refund.amount), "0.60%", _yuan(0), _yuan(refund.amount), ""),
    )


def _about(mchid: str, order: Order, at: float, status: str) -> Sequence[str]:
    moment = datetime.fromtimestamp(at, UTC).astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")
    number = order.transaction_id or ""
    return (
        *(moment, order.appid, mchid, "0", "", number, order.out_trade_no, order.openid, "JSAPI", status),
        *("OTHERS", "CNY"),
    )


def _line(values: Sequence[str]) -> str:
    return ",".join(f"`{value}" for value in values)


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"


def _fee(fen: int) -> str:
    sign, thousandths = "-" if fen < 0 else "", abs(fen) * RATE
    return f"{sign}{thousandths // 100_000}.{thousandths % 100_000:05d}"
