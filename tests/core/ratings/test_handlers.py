import pytest

from tests.core.partial import caller_of


async def send(case, who, method, body=None):
    """Status and body."""
    answer = await case.house.person(who).send(method, f"/visits/{case.id}/rating", json=body)
    return answer.status_code, answer.json()


@pytest.mark.feature("P1.11")
@pytest.mark.gen_test(timeout=30)
async def test_a_patient_rates_and_both_read_it(house):
    case = await house.completed()
    assert (await send(case, case.patient, "GET"))[1]["code"] == "not_found"
    status, given = await send(case, case.patient, "POST", {"stars": 5, "text": " 很好 "})
    assert (status, given["stars"], given["text"]) == (201, 5, "很好")
    for reader in (case.patient, case.doctor):
        assert await send(case, reader, "GET") == (200, given)
    assert (await send(case, case.patient, "POST", {"stars": 1}))[1]["code"] == "already_rated"
    assert (await send(case, case.patient, "GET"))[1]["stars"] == 5


@pytest.mark.gen_test(timeout=30)
async def test_nobody_else_rates_or_reads(house):
    case = await house.completed()
    assert (await send(case, case.doctor, "POST", {"stars": 5}))[0] == 403
    assert (await send(case, caller_of("patient"), "POST", {"stars": 5}))[0] == 404
    assert (await send(case, house.other_doctor, "GET"))[0] == 404
    assert (await send(case, await house.nurse(), "GET"))[0] == 403
    assert (await case.visit())["rating"] is None


@pytest.mark.gen_test(timeout=30)
async def test_a_wrong_rating_is_named_and_not_kept(house):
    case = await house.completed()
    for body, field in (({"stars": 0}, "stars"), ({"stars": 5, "text": "x" * 501}, "text"), ({}, "stars")):
        status, problem = await send(case, case.patient, "POST", body)
        assert (status, list(problem["errors"])) == (422, [field])
    assert (await case.visit())["rating"] is None
