from datetime import UTC, datetime

import pytest

from core.ids import new_id
from storage.indexes import ensure_indexes
from storage.ratings import RatingRepository
from tests.storage.plans import watched

AT = datetime(2026, 11, 2, 4, tzinfo=UTC)


def rating(doctor: str, stars: int = 5, **changes):
    return {
        "_id": new_id(),
        "visit_id": new_id(),
        "doctor_id": doctor,
        "patient_account": "p",
        "stars": stars,
        "at": AT,
    } | changes


@pytest.mark.gen_test
async def test_visit_is_rated_once(store):
    await ensure_indexes(store)
    ratings, first = RatingRepository(store), rating("once", visit_id="v")
    assert await ratings.add(first) is True
    assert await ratings.add(rating("once", visit_id="v")) is False
    assert await ratings.of_visit("v") == first
    assert await ratings.of_visit("w") is None


@pytest.mark.gen_test
async def test_ratings_are_paged_newest_first(store):
    ratings = RatingRepository(store)
    made = [rating("paged", patient_account="mine") for _ in range(3)]
    for one in made:
        await ratings.add(one)
    newest = await ratings.page_of_doctor("paged", before=None, limit=2)
    assert newest == [made[2], made[1]]
    assert await ratings.page_of_doctor("paged", before=newest[-1]["_id"], limit=2) == [made[0]]
    assert await ratings.page_of_account("mine", before=made[1]["_id"], limit=2) == [made[0]]


@pytest.mark.gen_test
async def test_stars_are_summed_over_one_doctor_only(store):
    ratings = RatingRepository(store)
    for doctor, stars in (("summed", 5), ("summed", 2), ("another", 1)):
        await ratings.add(rating(doctor, stars))
    assert await ratings.sum_of_doctor("summed") == (7, 2)
    assert await ratings.sum_of_doctor("nobody") == (0, 0)


@pytest.mark.gen_test
async def test_ratings_are_found_by_an_index(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        ratings = RatingRepository(store)
        await ratings.of_visit("v")
        await ratings.page_of_doctor("d", before="x", limit=2)
        await ratings.page_of_account("p", before=None, limit=2)
        await ratings.sum_of_doctor("d")
        assert await plans.scans() == []


@pytest.mark.gen_test
async def test_stars_are_counted_by_their_number(store):
    ratings = RatingRepository(store)
    for doctor, stars in (("counted", 5), ("counted", 2), ("counted", 5), ("uncounted", 1)):
        await ratings.add(rating(doctor, stars))
    assert await ratings.stars_of_doctor("counted") == {5: 2, 2: 1}
    assert await ratings.stars_of_doctor("nobody") == {}


@pytest.mark.gen_test
async def test_stars_are_counted_by_an_index(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        await RatingRepository(store).stars_of_doctor("d")
        assert await plans.scans() == []
