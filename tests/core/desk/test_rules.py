from datetime import UTC, date, datetime

import pytest

from core.desk import rules
from core.desk.rules import Place, Span
from core.errors import Invalid

TODAY = date(2026, 3, 31)
ULID = "01JDQ0000000000000000000AB"


def test_a_day_in_china_begins_eight_hours_before_it_does_in_utc():
    span = Span(date(2026, 3, 1), date(2026, 3, 1))
    assert span.since == datetime(2026, 2, 28, 16, tzinfo=UTC)
    assert span.until == datetime(2026, 3, 1, 16, tzinfo=UTC)
    assert (span.since.tzinfo, span.until.tzinfo) == (UTC, UTC)


@pytest.mark.parametrize(
    ("by", "first", "last", "wanted"),
    [
        ("day", None, None, Span(date(2026, 3, 2), TODAY)),
        ("day", "2026-03-30", None, Span(date(2026, 3, 30), TODAY)),
        ("day", None, "2026-01-31", Span(date(2026, 1, 2), date(2026, 1, 31))),
        ("day", "2025-03-31", "2026-03-31", Span(date(2025, 3, 31), TODAY)),
        ("month", None, None, Span(date(2025, 4, 1), TODAY)),
        ("month", None, "2026-01-15", Span(date(2025, 2, 1), date(2026, 1, 15))),
        ("month", "2016-04-01", None, Span(date(2016, 4, 1), TODAY)),
    ],
)
def test_days_that_are_not_given_are_the_last_ones(by, first, last, wanted):
    assert rules.income_span(by, first, last, TODAY) == wanted


@pytest.mark.parametrize(
    ("by", "first", "last"),
    [
        ("day", "2026-04-01", None),
        ("day", "2026-03-02", "2026-03-01"),
        ("day", "2025-03-30", "2026-03-31"),
        ("month", "2016-03-31", "2026-03-31"),
    ],
)
def test_days_the_wrong_way_round_or_too_many_are_refused(by, first, last):
    with pytest.raises(Invalid) as refused:
        rules.income_span(by, first, last, TODAY)
    assert list(refused.value.errors) == ["from"]


def test_quiet_periods_have_their_line_too():
    span = Span(date(2026, 2, 27), date(2026, 3, 1))
    assert rules.periods(span, "day") == ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert rules.periods(span, "month") == ["2026-02", "2026-03"]
    assert rules.periods(Span(date(2025, 12, 31), date(2026, 1, 1)), "month") == ["2025-12", "2026-01"]


@pytest.mark.parametrize(
    "until",
    [
        datetime(2026, 3, 1, 4, 5, 6, 789000, tzinfo=UTC),
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
    ],
)
def test_a_cursor_is_read_as_it_was_written(until):
    place = Place(ULID, until)
    assert rules.read_place(rules.write_place(place)) == place
    assert rules.read_place(None) is None


@pytest.mark.parametrize(
    "cursor", ["", ULID, f"{ULID}.12", f"{ULID}.12345678901234", f"x{ULID}.1234567890123", "١" * 40]
)
def test_a_cursor_that_is_not_ours_is_refused(cursor):
    with pytest.raises(Invalid) as refused:
        rules.read_place(cursor)
    assert list(refused.value.errors) == ["cursor"]


@pytest.mark.parametrize(
    ("fee", "said"),
    [(0, "须在 0.01 元到 500.00 元之间"), (1, None), (50_000, None), (50_001, "须在 0.01 元到 500.00 元之间")],
)
def test_a_fee_is_held_within_both_bounds(fee, said):
    assert rules.fault_of_fee(fee, 1, 50_000) == said
