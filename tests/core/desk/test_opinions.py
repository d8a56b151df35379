from typing import Any

import pytest

from core.desk import opinions


async def page(desk, limit: int = 20, cursor: str | None = None) -> dict[str, Any]:
    return await opinions.page_of(desk.ctx, caller=desk.doctor, limit=limit, cursor=cursor)


@pytest.mark.gen_test
async def test_nobody_has_said_anything_yet(desk):
    nobody = {"1": 0, "2": 0, "3": 0, "4": 0, "5": 0}
    assert await page(desk) == {
        "items": [],
        "next_cursor": None,
        "average": None,
        "count": 0,
        "distribution": nobody,
    }


@pytest.mark.feature("D4.3")
@pytest.mark.rule("R6-5")
@pytest.mark.gen_test(timeout=30)
async def test_average_and_distribution_are_over_all_and_pages_stay_right_while_ratings_arrive(desk, other):
    who = await desk.asking("欧阳甲")
    rated = [await desk.rated(who, stars, f"第{stars}") for stars in (5, 4, 5)]
    await other.rated(await other.asking(), 1)
    first = await page(desk, limit=2)
    await desk.rated(who, 1)
    second = await page(desk, limit=2, cursor=first["next_cursor"])
    shown = [*first["items"], *second["items"]]
    assert [one["visit_id"] for one in shown] == [rated[2], rated[1], rated[0]]
    assert {one["author"] for one in shown} == {"欧*"}
    assert (first["average"], first["count"]) == (4.7, 3)
    assert first["distribution"] == {"1": 0, "2": 0, "3": 0, "4": 1, "5": 2}
    assert (second["average"], second["count"], second["next_cursor"]) == (3.8, 4, None)
