from datetime import date

import pytest

from core.directory import rules
from core.policy import Policy
from tests.core.partial import a_doctor

TODAY = date(2026, 11, 2)
POLICY = Policy()


def offered(**changes):
    return rules.offered_services(a_doctor("d", **changes), TODAY, POLICY)


def test_doctor_in_order_offers_what_is_switched_on():
    assert offered() == ("consult", "followup")
    assert offered(services=["followup"]) == ("followup",)
    assert offered(services=[]) == ()


def test_what_the_doctor_has_turned_off_is_not_offered_and_nothing_is_that_was_not_granted():
    assert offered(paused=["consult"]) == ("followup",)
    assert offered(paused=["consult", "followup"]) == ()
    assert offered(services=["consult"], paused=["followup"]) == ("consult",)
    assert rules.services_on(a_doctor("d", licence_valid_to="2020-01-01", paused=["consult"])) == ("followup",)
    assert rules.bars(a_doctor("d", paused=["consult", "followup"]), TODAY, POLICY) == ["no_service"]


@pytest.mark.rule("R2-8")
@pytest.mark.parametrize(
    ("valid_to", "services"), [("2026-11-02", ("consult", "followup")), ("2026-11-01", ()), ("2020-01-01", ())]
)
def test_licence_holds_through_its_last_day_and_not_a_day_longer(valid_to, services):
    assert offered(licence_valid_to=valid_to) == services


@pytest.mark.rule("R2-2")
@pytest.mark.parametrize(("since", "services"), [("2023-11-02", ("consult", "followup")), ("2023-11-03", ())])
def test_three_years_of_practice_are_needed(since, services):
    assert offered(practice_start=since) == services


@pytest.mark.rule("R2-2")
@pytest.mark.parametrize("missing", [None, ""])
def test_consent_of_the_institution_is_needed(missing):
    assert offered(consent_document=missing) == ()


@pytest.mark.rule("R2-2")
def test_doctor_of_another_institution_must_be_filed():
    assert offered(main_institution=False) == ()
    assert offered(main_institution=False, multi_site_filed=True) == ("consult", "followup")


@pytest.mark.rule("R6-8")
@pytest.mark.parametrize(("fee", "services"), [(0, ("consult",)), (50_000, ("consult",)), (50_001, ()), (-1, ())])
def test_fee_stays_in_the_hospital_s_bounds(fee, services):
    assert offered(services=["consult"], fees={"consult": fee}) == services


@pytest.mark.rule("R6-8")
def test_service_without_a_fee_is_not_offered():
    assert offered(fees={"consult": 100}) == ("consult",)


@pytest.mark.rule("R3-1")
@pytest.mark.rule("R3-4")
def test_notice_and_separate_consent_to_sensitive_data_are_always_needed():
    assert rules.needed_consents(30, POLICY) == {"consult_notice", "sensitive_data"}
    assert rules.needed_consents(14, POLICY) == {"consult_notice", "sensitive_data"}


@pytest.mark.rule("R3-3")
def test_below_fourteen_the_children_s_text_is_needed_too():
    assert rules.needed_consents(13, POLICY) == {"consult_notice", "sensitive_data", "children"}
