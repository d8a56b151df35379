"""The daily trade bill (pay.weixin.qq.com/doc/v3, 申请交易账单): from the vendor's file to the port's values.

UTF-8 text: a line of column names, a line a payment or refund, a line of names of the sums, a line of sums. Every value
has a backtick before it and nothing is quoted, so that a comma inside a value is told from a separator by the backtick
that follows. Amounts are yuan with two decimals, times those of China. What does not hold is a `ValueError`.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Final

from core.ports import Bill, BilledPayment, BilledRefund, RefundState

CHINA: Final = timezone(timedelta(hours=8))
# The vendor makes the bill of a day at this hour of the next one; asked earlier it may say that there is none.
MADE_AT: Final = time(10, tzinfo=CHINA)
# A line takes about 300 bytes: 200,000 payments a day. More is not the hospital's bill.
LARGEST: Final = 64 * 1024 * 1024
SUMS_BEGIN: Final = "总交易单数"
# The bill knows three words; a refund that failed is told as ABNORMAL or CLOSED by a query.
REFUND_STATES: Final[Mapping[str, RefundState]] = {
    "SUCCESS": RefundState.SUCCESS,
    "PROCESSING": RefundState.PROCESSING,
    "FAIL": RefundState.ABNORMAL,
    "ABNORMAL": RefundState.ABNORMAL,
    "CHANGE": RefundState.ABNORMAL,
    "CLOSED": RefundState.CLOSED,
}

# The columns read; there are more, and more may come.
COLUMNS: Final = frozenset(
    {
        *("交易时间", "公众账号ID", "商户号", "微信订单号", "商户订单号", "交易状态", "货币种类"),
        *("微信退款单号", "商户退款单号", "退款状态", "订单金额", "申请退款金额"),
    }
)


def made_at(day: date) -> datetime:
    """When the bill of `day` has been made."""
    return datetime.combine(day + timedelta(days=1), MADE_AT).astimezone(UTC)


def unpack(content: bytes, *, hash_type: str, hash_value: str) -> bytes:
    """The file out of its gzip, where it is in one, after its digest has been compared with the signed answer's."""
    plain = _gunzip(content) if content[:2] == b"\x1f\x8b" else content
    if len(plain) > LARGEST:
        raise ValueError("the bill is too large")
    if hash_type != "SHA1":
        raise ValueError("another kind of digest")
    # SHA-1 is the vendor's choice; the address was told under its signature.
    if hashlib.sha1(plain, usedforsecurity=False).hexdigest() != hash_value.lower():
        raise ValueError("the digest does not hold")
    return plain


def read(content: bytes, day: date, *, mchid: str, appid: str) -> Bill:
    """Payments and refunds of this merchant and application. About 0.1 s of CPU for 10,000 lines.

    Another application's lines are left out (one merchant may serve several), another merchant's do not hold.
    """
    lines = [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    if len(lines) < 3 or not lines[-2].startswith(SUMS_BEGIN):
        raise ValueError("the bill does not end as bills do")
    names = [name.strip() for name in lines[0].split(",")]
    rows = [_row(names, line) for line in lines[1:-2]]
    if _values(lines[-1])[0] != str(len(rows)):
        raise ValueError("the bill lacks lines that it counts")
    payments, refunds = [], []
    for row in rows:
        if row["商户号"] != mchid:
            raise ValueError("another merchant's line")
        if row["公众账号ID"] != appid:
            continue
        at = _moment(row["交易时间"])
        if at.astimezone(CHINA).date() != day:
            raise ValueError("another day's line")
        if row["货币种类"] != "CNY":
            raise ValueError("another currency")
        if row["交易状态"] == "SUCCESS":
            payments.append(BilledPayment(row["商户订单号"], row["微信订单号"], _fen(row["订单金额"]), at))
        elif row["交易状态"] == "REFUND":
            refunds.append(_refund(row, at))
        else:
            raise ValueError("a line that is neither payment nor refund")
    return Bill(day, tuple(payments), tuple(refunds))


def _refund(row: Mapping[str, str], at: datetime) -> BilledRefund:
    state = REFUND_STATES.get(row["退款状态"])
    if state is None:
        raise ValueError("an unknown state of a refund")
    return BilledRefund(
        out_trade_no=row["商户订单号"],
        out_refund_no=row["商户退款单号"],
        refund_id=row["微信退款单号"],
        amount=_fen(row["申请退款金额"]),
        state=state,
        at=at,
    )


def _row(names: Sequence[str], line: str) -> dict[str, str]:
    values = _values(line)
    if len(values) != len(names):
        raise ValueError("a line has more or fewer values than there are columns")
    row = dict(zip(names, values, strict=True))
    missing = COLUMNS - row.keys()
    if missing:
        raise ValueError(f"no column {min(missing)}")
    return row


def _values(line: str) -> list[str]:
    if not line.startswith("`"):
        raise ValueError("a value without its backtick")
    return [value.strip() for value in line[1:].split(",`")]


def _fen(said: str) -> int:
    try:
        fen = Decimal(said) * 100
        whole = int(fen)
    except (InvalidOperation, OverflowError, ValueError) as failure:
        raise ValueError("not an amount") from failure
    if fen != whole or whole <= 0:
        raise ValueError("not an amount in fen")
    return whole


def _moment(said: str) -> datetime:
    return datetime.strptime(said, "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA).astimezone(UTC)


def _gunzip(content: bytes) -> bytes:
    machine = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = machine.decompress(content, LARGEST + 1)
    except zlib.error as failure:
        raise ValueError("not a gzip file") from failure
    if not machine.eof and len(plain) <= LARGEST:
        raise ValueError("half a gzip file")
    return plain
