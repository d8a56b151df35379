import pytest

from core.auth import ROLES, STAFF_ROLES
from core.backoffice import rules
from core.errors import Forbidden, Invalid
from core.policy import Policy
from tests.core.partial import caller_of

WORKERS = {"doctor", "pharmacist", "nurse", "regulator"}
ADMINISTRATORS = {"admin", "security_admin", "auditor"}
EVERYBODY = WORKERS | ADMINISTRATORS


def _allowed(caller, act):
    def may(role):
        try:
            rules.require_may(caller, act, role=role, account_id="somebody")
        except Forbidden:
            return False
        return True

    return {role for role in STAFF_ROLES if may(role)}


@pytest.mark.rule("R6-3")
@pytest.mark.parametrize(
    ("act", "by_admin", "by_security_admin"),
    [
        ("create", WORKERS, ADMINISTRATORS),
        ("describe", WORKERS, ADMINISTRATORS),
        ("password", WORKERS, ADMINISTRATORS),
        ("status", WORKERS, EVERYBODY),
        ("role", set(), EVERYBODY),
        ("unlock", set(), EVERYBODY),
        ("second_factor", set(), EVERYBODY),
        ("sessions", set(), EVERYBODY),
    ],
)
def test_the_administrators_powers_do_not_overlap_where_they_would_add_up(act, by_admin, by_security_admin):
    assert _allowed(caller_of("admin"), act) == by_admin
    assert _allowed(caller_of("security_admin"), act) == by_security_admin
    for role in set(ROLES) - {"admin", "security_admin"}:
        assert _allowed(caller_of(role), act) == set()


@pytest.mark.rule("R6-3")
@pytest.mark.parametrize("act", ["password", "status", "role", "unlock", "second_factor"])
def test_nobody_does_it_to_themselves(act):
    guard = caller_of("security_admin", "guard")
    with pytest.raises(Forbidden):
        rules.require_may(guard, act, role="security_admin", account_id="guard")


def test_every_act_of_a_change_is_in_the_table():
    assert set(rules.MAY) >= rules.NOT_TO_ONESELF


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({"no_such": 1}, {"no_such": ["没有这项设置"]}),
        ({"heartbeat_seconds": 20}, {"heartbeat_seconds": ["此项只能通过环境变量设置，重启后生效"]}),
        ({"visits_per_hour": 0}, {"visits_per_hour": ["须在 1 至 10000 之间"]}),
        (
            {"practice_years": 2},
            {"practice_years": [f"须在 3 至 50 之间（R2-2：{rules.RULES['R2-2'].sentence}）"]},
        ),
    ],
)
def test_what_may_not_be_set_is_named_with_its_reason(values, errors):
    with pytest.raises(Invalid) as refused:
        rules.require_settable({"password_tries": 5, **values})
    assert refused.value.errors == errors


def test_bounds_themselves_and_taking_back_are_allowed():
    rules.require_settable({"practice_years": 3, "child_years": 18, "visits_per_hour": None})


def test_fees_must_not_cross():
    with pytest.raises(Invalid):
        rules.require_consistent(Policy(consult_fee_low=200, consult_fee_high=100))
    rules.require_consistent(Policy(consult_fee_low=100, consult_fee_high=100))


def test_the_rule_is_read_off_the_meaning():
    assert (rules.rule_of("child_years"), rules.rule_of("visits_per_hour")) == ("R3-3", None)
