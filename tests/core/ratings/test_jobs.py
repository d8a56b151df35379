import asyncio

import pytest

from core.ratings import jobs, service


async def standing(house, doctor):
    """Sum and number of a doctor's stars as the directory has them."""
    found = await house.ctx.doctors.get(doctor.id)
    return found["rating_sum"], found["rating_count"]


async def die(collection, id_):
    return None


@pytest.mark.feature("P1.11")
@pytest.mark.gen_test(timeout=30)
async def test_a_rating_counts_once_in_the_doctors_average_however_often_its_duty_runs(house):
    total, count = await standing(house, house.doctor)
    case = await house.completed()
    await service.rate(house.ctx, caller=case.patient, visit_id=case.id, stars=4, text="")
    visit = await case.visit()
    await asyncio.gather(*(jobs.count(house.ctx, visit) for _ in range(3)))
    assert await standing(house, house.doctor) == (total + 4, count + 1)
    listed = await house.ctx.ratings.page_of_account(case.patient.id, before=None, limit=5)
    assert [one["visit_id"] for one in listed] == [case.id]


@pytest.mark.gen_test(timeout=30)
async def test_a_process_that_dies_after_the_rating_leaves_the_counting_to_the_worker(house, monkeypatch):
    case = await house.completed()
    before = await standing(house, house.doctor)
    with monkeypatch.context() as dying:
        dying.setattr(house.ctx.duties, "run_now", die)
        await service.rate(house.ctx, caller=case.patient, visit_id=case.id, stars=2, text="")
    assert await standing(house, house.doctor) == before
    assert [one["kind"] for one in (await case.visit())["duties"]] == ["visit.count_rating"]
    await house.rest()
    assert await standing(house, house.doctor) == (before[0] + 2, before[1] + 1)
    assert (await case.visit())["duties"] == []


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test(timeout=30)
async def test_what_everybody_reads_bears_the_masked_name_and_is_kept_with_the_visit(house):
    case = await house.completed()
    await service.rate(house.ctx, caller=case.patient, visit_id=case.id, stars=5, text="很好")
    published = await house.ctx.ratings.of_visit(case.id)
    assert (published["author"], published["text"], published["stars"]) == ("演*", "很好", 5)
    assert "演示家属" not in repr(published)
    assert published["retain_until"] == (await case.visit())["retain_until"]


@pytest.mark.gen_test(timeout=30)
async def test_a_visit_that_nobody_rated_counts_nothing(house):
    case = await house.completed()
    before = await standing(house, house.doctor)
    await jobs.count(house.ctx, await case.visit())
    assert await standing(house, house.doctor) == before
    assert await house.ctx.ratings.of_visit(case.id) is None
