"""The switches that make the gateway misbehave as the real one may, and the pace it works at."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Faults:
    """All switches, off. Seconds are real seconds unless said; a `…_calls` counts down with each API call."""

    # Multiplies the waits between the tries of a notification (15 s … 6 h); 0 tries again at once.
    retry_scale: float = 1.0
    # Seconds between an event and the first try to tell it.
    notify_delay: float = 0.0
    # How many more copies of each notification are sent, at the same moment.
    notify_duplicates: int = 0
    # Fen added to the amount a notification tells (the total of a payment, the refund of a refund).
    wrong_amount: int = 0
    # Notifications, or answers, signed with another key than the platform's.
    forge_signature: bool = False
    forge_answers: bool = False
    # Each event is preceded by a probe whose signature begins WECHATPAY/SIGNTEST/.
    signtest_probe: bool = False
    # Events are never told: the merchant must ask.
    drop_notifications: bool = False
    # Seconds from the acceptance of a refund to its end.
    refund_delay: float = 0.0
    # Refunds stay PROCESSING until /_control/refund/{out_refund_no}/settle.
    hold_refunds: bool = False
    # Refunds end ABNORMAL.
    abnormal_refunds: bool = False
    # Seconds that must lie between two partial refunds of an order, else FREQUENCY_LIMITED.
    partial_refund_gap: float = 60.0
    # Bills can be had at once instead of from 10:00 of the next day on; the file behind the address has lost a byte.
    early_bills: bool = False
    spoilt_bills: bool = False
    # The next calls: 503 from the front server; an error of the gateway; no answer and no effect; an effect, no answer.
    unavailable_calls: int = 0
    error_calls: int = 0
    error_code: str = "SYSTEM_ERROR"
    hang_calls: int = 0
    commit_then_hang_calls: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)

    def changed(self, changes: dict[str, Any]) -> "Faults":
        """With some switches set anew; an unknown name or a value of another kind is a `ValueError`."""
        kinds = {field.name: type(field.default) for field in fields(self)}
        for name, value in changes.items():
            if name not in kinds:
                raise ValueError(f"no such switch: {name}")
            kind = kinds[name]
            fits = type(value) is kind or (kind is float and type(value) is int)
            if not fits or (kind is not str and name != "wrong_amount" and value < 0):
                raise ValueError(f"{name}: no fitting {kind.__name__}")
        return replace(self, **changes)
