"""Pure decisions of the desk: China's calendar as spans of time, and where a page of patients goes on."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal

from core.errors import Invalid
from core.ids import CHINA

By = Literal["day", "month"]

# Longer spans are asked for by month, or in parts: an answer has a line for every period.
MOST_DAYS: Final = 366
MOST_MONTHS: Final = 120
DAYS_SHOWN: Final = 30
MONTHS_SHOWN: Final = 12

_PLACE: Final = re.compile(r"([0-9A-HJKMNP-TV-Z]{26})\.([0-9]{13})")


@dataclass(frozen=True)
class Span:
    """Calendar days in China from `first` to `last`, both included."""

    first: date
    last: date

    @property
    def since(self) -> datetime:
        """When it begins, UTC."""
        return day_begins(self.first.isoformat())

    @property
    def until(self) -> datetime:
        """When it is over, UTC."""
        return day_ends(self.last.isoformat())


def day_begins(day: str) -> datetime:
    """Midnight in China at the beginning of `YYYY-MM-DD`, UTC."""
    return datetime.combine(date.fromisoformat(day), time(), CHINA).astimezone(UTC)


def day_ends(day: str) -> datetime:
    """Midnight in China at the end of `YYYY-MM-DD`, UTC."""
    return day_begins(day) + timedelta(days=1)


def income_span(by: By, first: str | None, last: str | None, today: date) -> Span:
    """The days asked for; `to` is today where it is not given, `from` 30 days or twelve calendar months in all.

    `Invalid` naming the field when they are the wrong way round or too many.
    """
    end = date.fromisoformat(last) if last else today
    if first:
        begin = date.fromisoformat(first)
    else:
        begin = end - timedelta(days=DAYS_SHOWN - 1) if by == "day" else _months_before(end, MONTHS_SHOWN - 1)
    if begin > end:
        raise Invalid.field("from", "开始日期不能晚于结束日期")
    if by == "day" and (end - begin).days >= MOST_DAYS:
        raise Invalid.field("from", f"按日最多查询 {MOST_DAYS} 天")
    if by == "month" and begin < _months_before(end, MOST_MONTHS - 1):
        raise Invalid.field("from", f"按月最多查询 {MOST_MONTHS} 个月")
    return Span(begin, end)


def _months_before(day: date, months: int) -> date:
    """The first day of the month so many months earlier."""
    number = day.year * 12 + day.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


def periods(span: Span, by: By) -> list[str]:
    """The days (`YYYY-MM-DD`) or months (`YYYY-MM`) of a span in their order, the quiet ones too."""
    days = [span.first + timedelta(days=n) for n in range((span.last - span.first).days + 1)]
    return list(dict.fromkeys(day.isoformat()[: 10 if by == "day" else 7] for day in days))


@dataclass(frozen=True)
class Place:
    """Where a list of patients stopped: below the visit `last`, among what had been submitted by `until`.

    The list is by newest visit, and a new visit takes its patient to the top. What came in after the first page was
    asked for is therefore left out of all pages: nobody is shown twice, nobody is passed over.
    """

    last: str
    until: datetime


def write_place(place: Place) -> str:
    """As a cursor; milliseconds are all that the store keeps."""
    return f"{place.last}.{round(place.until.timestamp() * 1000):013}"


def read_place(cursor: str | None) -> Place | None:
    """The place a cursor of ours names, None for the beginning; `Invalid` otherwise."""
    if cursor is None:
        return None
    parts = _PLACE.fullmatch(cursor)
    if parts is None:
        raise Invalid.field("cursor", "不是有效的翻页位置")
    seconds, milliseconds = divmod(int(parts[2]), 1000)
    return Place(parts[1], datetime.fromtimestamp(seconds, UTC).replace(microsecond=milliseconds * 1000))


def fault_of_fee(fee: int, low: int, high: int) -> str | None:
    """What is wrong with a fee (fen) in the hospital's bounds (fen, both included); None when nothing is."""
    return None if low <= fee <= high else f"须在 {low / 100:.2f} 元到 {high / 100:.2f} 元之间"
