import pytest

from core.directory import service as directory
from core.patients import service as patients
from core.ports import Unavailable
from scripts.demo import load as demo
from scripts.demo import read
from tests.core.partial import COLLECTIONS, caller_of


async def everything(ctx) -> dict[str, list]:
    found = {}
    for name in COLLECTIONS:
        documents = await ctx.store.db[name].find({}).to_list(None)
        found[name] = sorted(documents, key=lambda one: one["_id"])
    return found


@pytest.mark.gen_test(timeout=60)
async def test_demo_hospital_is_whole_and_loaded_once(ctx):
    assert await demo.load(ctx, production=False) is True
    before = await everything(ctx)
    counts = {name: len(documents) for name, documents in before.items()}
    assert counts == {
        "hospitals": 1,
        "departments": 12,
        "doctors": 30,
        "versions": 2,
        "consult_types": 8,
        "consent_texts": 6,
        "patients": 4,
        "ratings": 0,
        "accounts": 30 + 3 + 2 + 4 + 2,
    }
    assert {one["verification"]["state"] for one in before["patients"]} == {"verified"}
    assert await demo.load(ctx, production=False) is False
    assert await everything(ctx) == before


@pytest.mark.rule("R2-2")
@pytest.mark.rule("R2-8")
@pytest.mark.gen_test(timeout=60)
async def test_demo_doctors_who_may_not_be_asked_are_not_offered(ctx, api):
    await demo.load(ctx, production=False)
    shown = (await api.get("/doctors?limit=100")).body["items"]
    refused = {one["name"] for one in read("doctors")} - {one["name"] for one in shown}
    assert (len(shown), refused) == (28, {"邵临川", "孟小满"})
    assert [one["online"] for one in shown] == [True] * 28
    assert (await api.get("/hospital")).body["name"] == read("hospital")[0]["name"]
    for kind in directory.consents_for(5, ctx.policy):
        assert (await api.get(f"/consent-texts/{kind}")).status == 200


@pytest.mark.gen_test(timeout=60)
async def test_load_that_was_cut_off_is_completed_and_keeps_what_was_edited(ctx, monkeypatch):
    class CutOff(Exception):
        pass

    async def cut_off(*args):
        raise CutOff

    with monkeypatch.context() as patched:
        patched.setattr(demo, "_patients", cut_off)
        with pytest.raises(CutOff):
            await demo.load(ctx, production=False)
    [doctor, *_] = await ctx.doctors.every()
    await ctx.doctors.set_online(doctor["_id"], False, at=ctx.clock.now())
    assert await demo.load(ctx, production=False) is True
    assert (await ctx.doctors.get(doctor["_id"]))["online"] is False
    assert len((await everything(ctx))["patients"]) == 4


@pytest.mark.gen_test(timeout=60)
async def test_without_a_register_demo_patients_are_there_unverified(ctx, identity):
    identity.fault = Unavailable()
    assert await demo.load(ctx, production=False) is True
    stored = (await everything(ctx))["patients"]
    assert [one["verification"]["state"] for one in stored] == ["unverified"] * 4
    caller = caller_of(id_=stored[0]["account_id"])
    assert len(await patients.listed(ctx, caller=caller)) == 2


@pytest.mark.gen_test
async def test_demo_is_refused_in_production(ctx):
    with pytest.raises(ValueError, match="production"):
        await demo.load(ctx, production=True)
    assert await everything(ctx) == {name: [] for name in COLLECTIONS}
