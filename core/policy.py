"""The hospital's rules as numbers: default, bounds and meaning of each, one table for settings and docs.

`app/settings.py` reads every field from the environment (`VISIT_UNPAID_SECONDS` for `visit_unpaid_seconds`) and refuses
values outside the bounds; legal bounds name their rule. Durations are seconds, sizes bytes, money fen.

The back office may set most of them while the hospital runs (`core/backoffice/live.py`): what reads `ctx.policy.x` when
it needs x sees the change at once. Those that a process reads once, as it starts, are `fixed`.
"""

from dataclasses import dataclass, field, fields
from typing import Any

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MIB = 1024 * 1024


def number(default: int, low: int, high: int, meaning: str, *, fixed: bool = False) -> Any:
    """A whole number with its bounds, both included."""
    return field(default=default, metadata={"low": low, "high": high, "meaning": meaning, "fixed": fixed})


@dataclass(frozen=True)
class Policy:
    """What may be set without touching code. Field metadata carries `low`, `high`, `meaning` and `fixed`."""

    access_token_seconds: int = number(15 * MINUTE, 60, HOUR, "life of an access token")
    refresh_token_seconds: int = number(30 * DAY, HOUR, 90 * DAY, "life of a patient's unused session")
    staff_session_seconds: int = number(
        12 * HOUR, 15 * MINUTE, 7 * DAY, "life of a staff account's unused session (R6-4)"
    )
    ticket_seconds: int = number(60, 10, 10 * MINUTE, "life of a web-view ticket")
    mfa_ticket_seconds: int = number(5 * MINUTE, MINUTE, 15 * MINUTE, "how long a login waits for its second factor")
    sms_code_seconds: int = number(5 * MINUTE, MINUTE, 10 * MINUTE, "life of a text-message code")
    sms_code_tries: int = number(5, 1, 10, "wrong guesses a text-message code survives")
    sms_resend_seconds: int = number(60, 30, 10 * MINUTE, "pause between two codes to one phone and purpose")
    sms_daily_per_phone: int = number(10, 1, 50, "codes a phone may get in a day")
    sms_hourly_per_address: int = number(60, 1, 10_000, "codes an address on the network may ask for in an hour")
    login_per_minute_per_address: int = number(60, 1, 100_000, "login attempts of an address in a minute")
    password_tries: int = number(5, 3, 10, "wrong staff passwords before the lock (R6-4)")
    password_lock_seconds: int = number(15 * MINUTE, 5 * MINUTE, DAY, "how long the lock holds (R6-4)")
    initial_password_seconds: int = number(
        3 * DAY, HOUR, 7 * DAY, "a password made by the office must be changed within"
    )
    elevation_seconds: int = number(5 * MINUTE, MINUTE, 15 * MINUTE, "a dangerous act may follow its proof for (R6-4)")
    visits_per_hour: int = number(30, 1, 10_000, "visits an account may open in an hour")
    uploads_per_hour: int = number(200, 1, 100_000, "media an account may upload in an hour")
    upload_parts_per_hour: int = number(
        20_000, 100, 10_000_000, "parts of resumable uploads an account may send in an hour"
    )
    media_image_bytes: int = number(20 * MIB, MIB, 100 * MIB, "largest image")
    media_video_bytes: int = number(200 * MIB, MIB, 2048 * MIB, "largest video")
    media_file_bytes: int = number(20 * MIB, MIB, 100 * MIB, "largest other file (PDF)")
    media_image_pixels: int = number(50_000_000, 1_000_000, 200_000_000, "largest image in pixels", fixed=True)
    media_link_seconds: int = number(5 * MINUTE, 10, 5 * MINUTE, "life of a signed media link")
    media_orphan_seconds: int = number(DAY, HOUR, 30 * DAY, "how long an unfinished upload is kept")
    visit_unpaid_seconds: int = number(15 * MINUTE, MINUTE, DAY, "an unpaid visit expires after")
    visit_unanswered_seconds: int = number(
        24 * HOUR, 10 * MINUTE, 7 * DAY, "a paid visit nobody accepts is declined after"
    )
    visit_silent_seconds: int = number(48 * HOUR, HOUR, 14 * DAY, "a visit in which nobody speaks completes after")
    refund_after_completion_seconds: int = number(7 * DAY, 0, 90 * DAY, "the doctor may refund a completed visit for")
    rating_seconds: int = number(30 * DAY, DAY, 365 * DAY, "a finished visit may be rated for")
    attachments_per_visit: int = number(20, 1, 50, "images a visit may carry when it is submitted")
    identity_checks_per_day: int = number(20, 1, 1_000, "real-name checks an account may ask for in a day")
    patients_per_account: int = number(10, 1, 50, "family members under one account")
    child_years: int = number(14, 14, 18, "below this age a verified guardian is needed (R3-3, 个保法 28, 31)")
    practice_years: int = number(3, 3, 50, "independent practice a doctor needs (R2-2, 诊疗办法 25)")
    consult_fee_low: int = number(0, 0, 1_000_000, "lowest consultation fee, fen")
    consult_fee_high: int = number(50_000, 0, 1_000_000, "highest consultation fee, fen")
    groups_per_doctor: int = number(50, 1, 200, "groups a doctor may sort patients into")
    patients_per_group: int = number(1_000, 1, 10_000, "patients a doctor's group may hold")
    quick_replies_per_doctor: int = number(50, 1, 200, "sentences a doctor may keep for quick replies")
    notice_pause_seconds: int = number(
        10 * MINUTE, MINUTE, DAY, "pause between two notices of a visit to one who is offline"
    )
    call_ring_seconds: int = number(45, 15, 120, "a call that nobody answers is missed after")
    call_setup_seconds: int = number(20, 5, 120, "an answered call without media on both sides fails after")
    call_reconnect_seconds: int = number(30, 10, 120, "an interrupted call is lost after")
    call_longest_seconds: int = number(2 * HOUR, 10 * MINUTE, 12 * HOUR, "a call is ended after")
    retain_record_years: int = number(15, 15, 100, "visits, consents, evidence kept after the last visit (R5-1)")
    retain_chat_years: int = number(5, 3, 100, "chat kept for (R5-2)")
    retain_call_years: int = number(5, 3, 100, "calls and their recordings kept for (R5-2)")
    retain_audit_years: int = number(3, 1, 100, "audit entries kept for (R5-4)")
    socket_messages_per_minute: int = number(60, 1, 1_000_000, "chat messages an account may send in a minute")
    socket_frames_per_second: int = number(50, 1, 1_000_000, "frames a socket may send in a second")
    socket_accepts_per_second: int = number(
        500, 1, 1_000_000, "sockets a process takes in a second before it sheds (4013)", fixed=True
    )
    heartbeat_seconds: int = number(25, 5, 60, "pause between the server's protocol pings", fixed=True)


class LivePolicy(Policy):
    """A policy whose numbers are exchanged while it is in use; reading one costs what it costs of any other.

    All are exchanged in one step of the interpreter, so that nobody sees half of a change. It is no key of anything.
    """

    def take(self, other: Policy) -> None:
        """Be like the other from now on."""
        vars(self).update({one.name: getattr(other, one.name) for one in fields(Policy)})
