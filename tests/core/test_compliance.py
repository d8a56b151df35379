import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from core import compliance
from core.compliance import RULES, age_on, mask_name, mask_number, mask_phone, years_later

PACKAGES = ("core", "im", "storage")


def test_every_rule_that_the_code_names_is_in_the_table():
    root = Path(compliance.__file__).parent.parent
    sources = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    named = {rule for path in sources for rule in re.findall(r"\bR[1-6]-\d+\b", path.read_text(encoding="utf-8"))}
    assert named - set(RULES) == set()


def test_every_rule_has_a_sentence_and_a_basis():
    assert [id_ for id_, rule in RULES.items() if not (rule.sentence and rule.basis)] == []


@pytest.mark.parametrize(
    ("born", "day", "age"),
    [
        ("2012-11-02", date(2026, 11, 1), 13),
        ("2012-11-02", date(2026, 11, 2), 14),
        ("2012-02-29", date(2026, 2, 28), 13),
        ("2012-02-29", date(2026, 3, 1), 14),
        ("2026-11-02", date(2026, 11, 2), 0),
    ],
)
def test_age_is_reached_on_the_birthday(born, day, age):
    assert age_on(born, day) == age


def test_years_later_keeps_nothing_too_short():
    assert years_later(datetime(2026, 11, 2, 4, tzinfo=UTC), 15) == datetime(2041, 11, 2, 4, tzinfo=UTC)
    assert years_later(datetime(2028, 2, 29, tzinfo=UTC), 15) == datetime(2043, 3, 1, tzinfo=UTC)


@pytest.mark.rule("R6-5")
@pytest.mark.parametrize(("name", "shown"), [("张三", "张*"), ("欧阳娜娜", "欧*"), ("", "")])
def test_names_are_masked_to_their_first_character(name, shown):
    assert mask_name(name) == shown


@pytest.mark.rule("R6-5")
@pytest.mark.parametrize(
    ("number", "shown"),
    [("11010519491231002X", "110105********002X"), ("G12345678", "*******78"), ("7", "7"), ("", "")],
)
def test_numbers_keep_the_first_six_and_the_last_four(number, shown):
    assert mask_number(number) == shown


@pytest.mark.rule("R6-5")
@pytest.mark.parametrize(("phone", "shown"), [("13800001234", "138****1234"), ("110", "***")])
def test_phones_lose_their_middle(phone, shown):
    assert mask_phone(phone) == shown
