import asyncio
from datetime import timedelta

import pytest

from core.directory import rules, service
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from tests.core.partial import NOW, a_doctor, register_doctors


async def publish(ctx, kind: str, version: str = "1", *, after_days: int = -1, body: str = "正文") -> bool:
    return await service.publish_consent_text(
        ctx,
        kind=kind,
        version=version,
        title=kind,
        body=body,
        effective_at=NOW + timedelta(days=after_days),
        by="office",
    )


async def consents(ctx, *given, needed=("consult_notice", "sensitive_data")):
    return await service.require_consents(
        ctx,
        [{"kind": kind, "version": version} for kind, version in given],
        needed=set(needed),
        address="10.0.0.1",
        device="phone",
    )


@pytest.mark.feature("P1.1")
@pytest.mark.gen_test
async def test_offered_doctor_is_given_as_stored(ctx):
    await register_doctors(ctx, a_doctor("a"))
    assert (await service.require_offered(ctx, "a", "consult"))["fees"] == {"consult": 3_000, "followup": 2_000}


@pytest.mark.rule("R2-2")
@pytest.mark.rule("R2-8")
@pytest.mark.parametrize(
    "fault",
    [
        {"licence_valid_to": "2026-11-01"},
        {"practice_start": "2024-01-01"},
        {"consent_document": None},
        {"main_institution": False},
        {"services": ["followup"]},
        {"fees": {"consult": 99_999_999}},
    ],
)
@pytest.mark.gen_test
async def test_doctor_who_may_not_be_asked_is_refused_and_listed_nowhere(ctx, fault):
    await register_doctors(ctx, a_doctor("a", **fault))
    with pytest.raises(Conflict) as refused:
        await service.require_offered(ctx, "a", "consult")
    assert refused.value.code == "doctor_unavailable"
    found = service.find_doctors(ctx, service.Wanted(service="consult"), limit=10, cursor=None)
    assert found == {"items": [], "next_cursor": None}


@pytest.mark.gen_test
async def test_unknown_doctor_is_unavailable_and_has_no_page(ctx):
    with pytest.raises(Conflict):
        await service.require_offered(ctx, "nobody", "consult")
    for refused in (service.require_licensed(ctx, "nobody"), service.set_duty(ctx, "nobody", False)):
        with pytest.raises(NotFound):
            await refused
    with pytest.raises(NotFound):
        service.doctor_page(ctx, "nobody")
    with pytest.raises(NotFound):
        await service.ratings_page(ctx, "nobody", limit=1, cursor=None)


@pytest.mark.rule("R2-8")
@pytest.mark.gen_test
async def test_doctor_whose_licence_has_ended_cannot_go_online(ctx):
    await register_doctors(ctx, a_doctor("a", licence_valid_to="2026-11-01"))
    with pytest.raises(Conflict) as refused:
        await service.set_duty(ctx, "a", True)
    assert refused.value.code == "doctor_unavailable"
    assert (await ctx.doctors.get("a"))["online"] is False


@pytest.mark.rule("R2-8")
@pytest.mark.gen_test
async def test_online_doctor_whose_licence_ends_is_shown_offline_and_can_go_offline(ctx):
    await register_doctors(ctx, a_doctor("a", licence_valid_to="2026-11-01", online=True))
    page = service.doctor_page(ctx, "a")
    assert (page["online"], page["services"], page["fees"], page["licence"]["valid"]) == (False, [], {}, False)
    await service.set_duty(ctx, "a", False)
    assert (await ctx.doctors.get("a"))["online"] is False


@pytest.mark.rule("R2-2")
@pytest.mark.gen_test
async def test_doctor_too_short_in_practice_cannot_serve(ctx):
    await register_doctors(ctx, a_doctor("a", practice_start="2024-01-01"))
    with pytest.raises(Conflict) as refused:
        await service.require_licensed(ctx, "a")
    assert refused.value.code == "doctor_unavailable"


@pytest.mark.gen_test
async def test_doctor_on_duty_is_shown_online_at_once(ctx):
    await register_doctors(ctx, a_doctor("a"))
    await service.set_duty(ctx, "a", True)
    assert service.doctor_page(ctx, "a")["online"] is True


async def rate(ctx, doctor: str, stars: int) -> None:
    id_ = new_id()
    assert await ctx.ratings.add(
        {
            "_id": id_,
            "visit_id": id_,
            "doctor_id": doctor,
            "patient_account": "p",
            "author": "张*",
            "stars": stars,
            "text": "",
            "at": NOW,
            "retain_until": NOW,
        }
    )


@pytest.mark.gen_test
async def test_recounting_twice_and_at_once_counts_every_rating_once(ctx):
    await register_doctors(ctx, a_doctor("a"))
    assert service.doctor_page(ctx, "a")["rating"] == {"average": None, "count": 0}
    for stars in (5, 4, 4):
        await rate(ctx, "a", stars)
    await asyncio.gather(*(service.recount_ratings(ctx, "a") for _ in range(3)))
    await service.recount_ratings(ctx, "a")
    assert service.doctor_page(ctx, "a")["rating"] == {"average": 4.3, "count": 3}


@pytest.mark.gen_test
async def test_disabled_and_unknown_consultation_types_are_refused(ctx):
    kind = {"_id": "t", "name": "报告解读", "enabled": False, "order": 1}
    await ctx.consult_types.add(kind)
    for id_ in ("t", "nothing"):
        with pytest.raises(Invalid) as refused:
            await service.require_consult_type(ctx, id_)
        assert list(refused.value.errors) == ["consult_type_id"]


@pytest.mark.rule("R3-1")
@pytest.mark.gen_test
async def test_consent_record_says_which_text_when_and_from_where(ctx):
    await publish(ctx, "consult_notice", "2026-1", body="知情同意")
    [record] = await consents(ctx, ("consult_notice", "2026-1"), needed=["consult_notice"])
    assert record == {
        "kind": "consult_notice",
        "version": "2026-1",
        "hash": "dd33bd0bc032067cb09cfc31954ec4910bd2294b85ebefeb19b7b5cd388ba7f5",
        "at": NOW,
        "address": "10.0.0.1",
        "device": "phone",
    }


@pytest.mark.rule("R3-1")
@pytest.mark.gen_test
async def test_outdated_version_is_refused_naming_its_field(ctx):
    await publish(ctx, "consult_notice", "1", after_days=-2)
    await publish(ctx, "consult_notice", "2", after_days=-1)
    await publish(ctx, "consult_notice", "3", after_days=1)
    await publish(ctx, "sensitive_data")
    for version in ("1", "3", "9"):
        with pytest.raises(Invalid) as refused:
            await consents(ctx, ("sensitive_data", "1"), ("consult_notice", version))
        assert list(refused.value.errors) == ["consents.1.version"]
    assert len(await consents(ctx, ("sensitive_data", "1"), ("consult_notice", "2"))) == 2


@pytest.mark.rule("R3-4")
@pytest.mark.gen_test
async def test_missing_separate_consent_is_refused_by_name(ctx):
    await publish(ctx, "consult_notice")
    with pytest.raises(Invalid) as refused:
        await consents(ctx, ("consult_notice", "1"))
    assert refused.value.errors == {"consents": ["请先阅读并同意《敏感个人信息处理单独同意书》"]}


@pytest.mark.rule("R3-3")
@pytest.mark.gen_test
async def test_child_s_submission_needs_the_children_s_text(ctx):
    needed = service.consents_for(13, ctx.policy)
    for kind in needed:
        await publish(ctx, kind)
    with pytest.raises(Invalid):
        await consents(ctx, ("consult_notice", "1"), ("sensitive_data", "1"), needed=needed)
    given = [(kind, "1") for kind in sorted(needed)]
    assert [one["kind"] for one in await consents(ctx, *given, needed=needed)] == [
        rules.CHILDREN,
        rules.CONSULT_NOTICE,
        rules.SENSITIVE_DATA,
    ]


@pytest.mark.gen_test
async def test_unknown_kind_and_a_kind_given_twice_are_refused(ctx):
    await publish(ctx, "consult_notice")
    with pytest.raises(Invalid) as unknown:
        await consents(ctx, ("consult_notice", "1"), ("nonsense", "1"), needed=["consult_notice"])
    assert list(unknown.value.errors) == ["consents.1.kind"]
    with pytest.raises(Invalid) as twice:
        await consents(ctx, ("consult_notice", "1"), ("consult_notice", "1"), needed=["consult_notice"])
    assert list(twice.value.errors) == ["consents"]


@pytest.mark.rule("R3-1")
@pytest.mark.gen_test
async def test_published_text_is_never_replaced(ctx):
    assert await publish(ctx, "consult_notice", body="第一稿") is True
    assert await publish(ctx, "consult_notice", body="第二稿") is False
    assert (await service.consent_text(ctx, "consult_notice", "1"))["body"] == "第一稿"


@pytest.mark.gen_test
async def test_text_that_is_not_in_force_yet_is_not_the_one_asked_for(ctx):
    await publish(ctx, "consult_notice", after_days=1)
    for kind, version in (("consult_notice", None), ("consult_notice", "2"), ("nonsense", None)):
        with pytest.raises(NotFound):
            await service.consent_text(ctx, kind, version)


def test_divisions_are_a_tree():
    provinces = service.divisions("")
    assert provinces[0] == {"code": "110000", "name": "北京市", "parent": "", "leaf": False}
    [city, *_] = service.divisions("110000")
    assert service.divisions(city["code"])[0] == {"code": "110101", "name": "东城区", "parent": "110100", "leaf": True}
    assert service.divisions("110101") == []
    with pytest.raises(NotFound):
        service.divisions("999999")
