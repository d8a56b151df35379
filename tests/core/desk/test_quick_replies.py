from dataclasses import replace

import pytest

from core.desk import quick_replies
from core.errors import Conflict, Invalid


async def save(desk, replies: list[str], version: int, ctx=None):
    return await quick_replies.replace(ctx or desk.ctx, caller=desk.doctor, replies=replies, version=version)


async def own(desk) -> tuple[list[str], int]:
    found = await quick_replies.own(desk.ctx, caller=desk.doctor)
    return found["replies"], found["version"]


@pytest.mark.gen_test
async def test_sentences_stay_in_their_order_and_are_ones_own(desk, other):
    assert await own(desk) == ([], 0)
    await save(desk, ["您好", "请多喝水"], 0)
    await save(desk, ["请多喝水", "您好"], 1)
    assert await own(desk) == (["请多喝水", "您好"], 2)
    assert await own(other) == ([], 0)


@pytest.mark.gen_test
async def test_who_saves_over_what_was_not_seen_is_refused_and_a_repeat_is_not(desk):
    await save(desk, ["一"], 0)
    again = await save(desk, ["一"], 0)
    assert (again["replies"], again["version"]) == (["一"], 1)
    with pytest.raises(Conflict) as refused:
        await save(desk, ["二"], 0)
    assert refused.value.code == "conflict"
    assert await own(desk) == (["一"], 1)


@pytest.mark.gen_test
async def test_there_are_never_more_than_the_hospital_allows(desk):
    few = replace(desk.ctx, policy=replace(desk.ctx.policy, quick_replies_per_doctor=2))
    with pytest.raises(Invalid) as refused:
        await save(desk, ["一", "二", "三"], 0, few)
    assert list(refused.value.errors) == ["replies"]
    assert await own(desk) == ([], 0)
    assert (await save(desk, ["一", "二"], 0, few))["version"] == 1
