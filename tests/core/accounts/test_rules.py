from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.accounts import rules
from core.accounts.rules import Tries
from core.errors import AppError, Invalid
from core.policy import Policy

KEY = b"k" * 32
NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)


@given(st.from_regex(rules.PHONE_FORM.replace("$", r"\Z"), fullmatch=True))
def test_mainland_mobile_numbers_are_taken_and_masked_in_the_middle(phone):
    rules.require_phone(phone)
    assert rules.masked_phone(phone) == f"{phone[:3]}****{phone[7:]}"


@pytest.mark.parametrize(
    "said",
    ["", "1380013800", "138001380000", "12800138000", "+8613800138000", "13800138000\n", "１３８００１３８０００"],
)
def test_other_numbers_are_refused(said):
    with pytest.raises(Invalid) as refusal:
        rules.require_phone(said)
    assert refusal.value.errors == {"phone": ["手机号格式有误"]}


@pytest.mark.parametrize("login", ["linjing", "li.n-j_3", "abc"])
def test_account_names_of_small_letters_are_taken(login):
    rules.require_login(login)


@pytest.mark.parametrize("login", ["ab", "3abc", "Linjing", "lin jing", "林静", "a" * 33, "linjing\n"])
def test_other_account_names_are_refused(login):
    with pytest.raises(Invalid):
        rules.require_login(login)


@pytest.mark.parametrize(
    ("password", "faults"),
    [
        ("correct-horse-7", []),
        ("密码密码密码密码a1", []),
        ("short7a", ["密码须为 8–128 位"]),
        ("a1" * 65, ["密码须为 8–128 位"]),
        ("onlyletters", ["密码须同时包含字母和数字"]),
        ("1234567890", ["密码须同时包含字母和数字"]),
        ("LinJing2026", ["密码不能包含账号名"]),
    ],
)
def test_passwords_of_staff(password, faults):
    if not faults:
        return rules.require_password(password, "linjing")
    with pytest.raises(Invalid) as refusal:
        rules.require_password(password, "linjing")
    assert refusal.value.errors == {"password": faults}
    return None


def test_the_fifth_try_locks_for_a_quarter_of_an_hour_and_a_sixth_is_not_taken():
    tries = Tries(0, None)
    for wrong in range(1, 5):
        tries = rules.next_try(tries, NOW, Policy())
        assert tries == Tries(wrong, None)
    tries = rules.next_try(tries, NOW, Policy())
    assert tries == Tries(5, NOW + timedelta(minutes=15))
    with pytest.raises(AppError) as refusal:
        rules.next_try(tries, NOW + timedelta(minutes=14), Policy())
    assert (refusal.value.code, refusal.value.status, refusal.value.retry_after) == ("locked", 403, 60)


def test_counting_begins_anew_when_the_lock_has_ended():
    assert rules.next_try(Tries(5, NOW), NOW, Policy()) == Tries(1, None)


def test_codes_are_six_digits():
    made = [rules.new_code() for _ in range(2000)]
    assert all(len(code) == 6 and code.isascii() and code.isdigit() for code in made)
    assert any(code.startswith("0") for code in made)
    assert len(set(made)) > 1900


def test_digests_of_one_use_are_none_of_another():
    assert rules.digest(KEY, "a", "b") != rules.digest(KEY, "b", "a")
    assert rules.digest(KEY, "a", "b", "c") != rules.digest(KEY, "a", "bc")
    assert rules.digest(KEY, "a", "b") != rules.digest(b"l" * 32, "a", "b")


def test_refresh_token_names_its_session():
    token = rules.new_refresh_token(KEY, "s1", 3)
    assert rules.session_of(KEY, token) == "s1"
    assert rules.session_of(b"l" * 32, token) is None
    assert token != rules.new_refresh_token(KEY, "s1", 3)


@given(st.integers(0, 500), st.characters(codec="utf-8"))
def test_changed_refresh_token_is_none_of_ours(place, char):
    token = rules.new_refresh_token(KEY, "01J0000000000000000000000A", 1)
    place %= len(token)
    changed = token[:place] + char + token[place + 1 :]
    assert (rules.session_of(KEY, changed) is None) == (changed != token)


@given(st.text())
def test_invented_refresh_token_is_none_of_ours(said):
    assert rules.session_of(KEY, said) is None


def test_a_made_password_is_one_that_staff_may_have():
    made = {rules.new_password() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        rules.require_password(password, "somebody")
        assert not set(password) & set("il1o0")


@pytest.mark.rule("R6-4")
def test_an_unused_session_of_staff_ends_sooner_than_a_patients():
    policy = Policy(staff_session_seconds=900, refresh_token_seconds=7_200)
    assert (rules.unused_seconds("staff", policy), rules.unused_seconds("patient", policy)) == (900, 7_200)
