import json

import pytest

from core import idempotency
from core.errors import Conflict, Invalid
from core.idempotency import STALE_SECONDS, Call
from storage.idempotency import IdempotencyRepository
from tests.core.doors import PartialContext


@pytest.fixture
def ctx(io_loop, store):
    io_loop.run_sync(lambda: store.db["idempotency"].delete_many({}))
    return PartialContext(store, IdempotencyRepository(store), revocations=None, limiter=None, audit=None)


def call(ctx, key="k1", *, account="a1", method="POST", path="/visits", body=b"{}") -> Call:
    return Call(account, key, method, path, body, ctx.clock.now())


@pytest.mark.gen_test
async def test_the_first_goes_ahead_and_the_repeat_gets_its_answer(ctx):
    first = call(ctx)
    assert await idempotency.begin(ctx, first) is None
    await idempotency.keep(ctx, first, 201, {"id": "v1", "name": "王小明"})
    ctx.clock.step(3600)
    assert await idempotency.begin(ctx, call(ctx)) == (201, {"id": "v1", "name": "王小明"})


@pytest.mark.gen_test
async def test_what_is_kept_cannot_be_read_in_the_store(ctx):
    first = call(ctx, body='{"name": "王小明"}'.encode())
    await idempotency.begin(ctx, first)
    await idempotency.keep(ctx, first, 201, {"name": "王小明"})
    [kept] = await ctx.store.db["idempotency"].find({}).to_list(2)
    assert kept["answer"].startswith("v1.f1.")
    assert "王小明" not in json.dumps(kept, ensure_ascii=False, default=str)


@pytest.mark.gen_test
@pytest.mark.parametrize("other", [{"body": b"{ }"}, {"path": "/orders"}, {"method": "PUT"}])
async def test_another_request_under_the_key_is_a_conflict_running_or_done(ctx, other):
    first = call(ctx)
    await idempotency.begin(ctx, first)
    for _ in range(2):
        with pytest.raises(Conflict) as refused:
            await idempotency.begin(ctx, call(ctx, **other))
        assert refused.value.code == "idempotency_conflict"
        await idempotency.keep(ctx, first, 201, None)
    assert await idempotency.begin(ctx, call(ctx, account="a2", **other)) is None


@pytest.mark.gen_test
@pytest.mark.parametrize("key", ["", "a b", "a\n", "k" * 65, "键", "a.b"])
async def test_a_key_without_form_leaves_no_note(ctx, key):
    with pytest.raises(Invalid) as refused:
        await idempotency.begin(ctx, call(ctx, key))
    assert list(refused.value.errors) == ["Idempotency-Key"]
    assert await ctx.store.db["idempotency"].count_documents({}) == 0


@pytest.mark.gen_test
async def test_who_was_taken_over_neither_forgets_nor_overwrites_the_other(ctx):
    dead = call(ctx)
    await idempotency.begin(ctx, dead)
    ctx.clock.step(STALE_SECONDS + 1)
    heir = call(ctx)
    assert await idempotency.begin(ctx, heir) is None
    await idempotency.forget(ctx, dead)
    with pytest.raises(Conflict) as refused:
        await idempotency.begin(ctx, call(ctx))
    assert (refused.value.code, refused.value.retry_after) == ("in_progress", 1)
    await idempotency.keep(ctx, heir, 201, "heir")
    await idempotency.keep(ctx, dead, 201, "dead")
    assert await idempotency.begin(ctx, call(ctx)) == (201, "heir")


@pytest.mark.gen_test
async def test_a_refused_call_frees_its_key_for_another_request(ctx):
    first = call(ctx)
    await idempotency.begin(ctx, first)
    await idempotency.forget(ctx, first)
    assert await idempotency.begin(ctx, call(ctx, body=b"[]")) is None
