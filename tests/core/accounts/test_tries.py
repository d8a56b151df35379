import asyncio

import pytest

from core.accounts import tries
from core.accounts.rules import Tries
from core.errors import Conflict, Forbidden


async def _count(ctx, account):
    kept = await ctx.accounts.get(account["_id"])
    return Tries(kept["wrong_tries"], kept["locked_until"])


@pytest.mark.gen_test
async def test_of_many_simultaneous_tries_five_are_taken(ctx, doctor):
    taken = await asyncio.gather(*(tries.take(ctx, doctor) for _ in range(20)), return_exceptions=True)
    assert sorted(one.wrong for one in taken if isinstance(one, Tries)) == [1, 2, 3, 4, 5]
    assert {one.code for one in taken if isinstance(one, Exception)} == {"locked"}


@pytest.mark.gen_test
async def test_after_a_quarter_of_an_hour_a_try_is_taken_again(ctx, doctor, clock):
    for _ in range(5):
        await tries.take(ctx, doctor)
    clock.step(899)
    with pytest.raises(Forbidden) as refusal:
        await tries.take(ctx, doctor)
    assert refusal.value.retry_after == 1
    clock.step(1)
    assert await tries.take(ctx, doctor) == Tries(1, None)


@pytest.mark.gen_test
async def test_the_right_person_starts_anew(ctx, doctor):
    for _ in range(5):
        await tries.take(ctx, doctor)
    await tries.forget(ctx, doctor)
    assert await _count(ctx, doctor) == Tries(0, None)


@pytest.mark.gen_test
async def test_half_a_login_takes_only_its_own_try_off_the_count(ctx, doctor):
    await tries.take(ctx, doctor)
    second = await tries.take(ctx, doctor)
    await tries.give_back(ctx, doctor, second)
    assert await _count(ctx, doctor) == Tries(1, None)


@pytest.mark.gen_test
async def test_half_a_login_takes_nothing_off_when_others_were_counted_meanwhile(ctx, doctor):
    first = await tries.take(ctx, doctor)
    await tries.take(ctx, doctor)
    await tries.give_back(ctx, doctor, first)
    assert await _count(ctx, doctor) == Tries(2, None)


@pytest.mark.gen_test
async def test_an_account_that_is_gone_has_no_tries(ctx, doctor):
    with pytest.raises(Conflict):
        await tries.take(ctx, {**doctor, "_id": "gone"})


@pytest.mark.gen_test
async def test_the_lock_is_in_the_trail_when_the_last_try_was_wrong_and_not_before(ctx, doctor, trail):
    for _ in range(5):
        taken = await tries.take(ctx, doctor)
        assert await trail(doctor["_id"]) == []
        await tries.note_wrong(ctx, doctor, taken)
    assert await trail(doctor["_id"]) == [("account.lock", "")]
