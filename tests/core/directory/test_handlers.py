from urllib.parse import quote

import pytest

from core.directory import service
from core.ids import new_id
from scripts.demo import read
from storage.hospitals import HOSPITAL_ID
from tests.core.partial import NOW, a_doctor, register_doctors


@pytest.mark.rule("R2-5")
@pytest.mark.gen_test
async def test_hospital_shows_its_licence_and_where_to_complain(api, ctx):
    assert (await api.get("/hospital")).status == 404
    record = read("hospital")[0]
    await ctx.hospitals.add({**record, "_id": HOSPITAL_ID, "created_at": NOW, "updated_at": NOW})
    shown = (await api.get("/hospital")).body
    assert {name: shown[name] for name in ("name", "licence_number", "complaint_phone")} == {
        name: record[name] for name in ("name", "licence_number", "complaint_phone")
    }
    assert "_id" not in shown


@pytest.mark.feature("P1.1")
@pytest.mark.gen_test
async def test_departments_say_how_many_doctors_can_be_asked(api, ctx):
    await register_doctors(ctx, a_doctor(), a_doctor(services=[]))
    assert (await api.get("/departments")).body == {
        "items": [
            {
                "id": "cardiology",
                "code": "03.04",
                "name": "心血管内科",
                "introduction": "高血压、冠心病",
                "doctors": 1,
            }
        ],
        "next_cursor": None,
    }


@pytest.mark.feature("P1.1")
@pytest.mark.rule("R6-8")
@pytest.mark.rule("R2-5")
@pytest.mark.gen_test
async def test_doctor_s_page_shows_title_licence_rating_and_prices_without_login(api, ctx):
    await register_doctors(ctx, a_doctor("a", online=True, rating_sum=9, rating_count=2))
    shown = await api.get("/doctors/a")
    assert (shown.status, shown.body) == (
        200,
        {
            "id": "a",
            "name": "王小明",
            "title": {"code": "232", "name": "副主任医师"},
            "department": {"id": "cardiology", "code": "03.04", "name": "心血管内科"},
            "skills": ["高血压"],
            "introduction": "从事临床工作多年。",
            "photo": None,
            "services": ["consult", "followup"],
            "fees": {"consult": 3_000, "followup": 2_000},
            "online": True,
            "rating": {"average": 4.5, "count": 2},
            "licence": {
                "number": "999100*****0001",
                "scope": ["心血管内科专业"],
                "institution": "第一人民医院",
                "valid": True,
                "valid_to": "2030-12-31",
            },
        },
    )
    assert (await api.get("/doctors/nobody")).body["code"] == "not_found"


@pytest.mark.feature("P1.1")
@pytest.mark.parametrize(
    "query",
    [
        "department=cardiology",
        "department=03.04",
        "q=" + quote("王小明"),
        "q=wxm",
        "q=" + quote("副主任"),
        "q=" + quote("高血压"),
        "service=consult",
        "online=true",
    ],
)
@pytest.mark.gen_test
async def test_doctors_are_found_by_department_name_title_skill_and_state(api, ctx, query):
    other = a_doctor("b", name="李雷", title="233", department_id="x", skills=["皮疹"], services=["followup"])
    await register_doctors(ctx, a_doctor("a", online=True), other)
    found = (await api.get(f"/doctors?{query}")).body
    assert ([one["id"] for one in found["items"]], found["next_cursor"]) == (["a"], None)


@pytest.mark.feature("P1.1")
@pytest.mark.gen_test
async def test_doctors_are_read_page_by_page(api, ctx):
    await register_doctors(ctx, *(a_doctor(f"d{number}") for number in range(3)))
    first = (await api.get("/doctors?limit=2")).body
    second = (await api.get(f"/doctors?limit=2&cursor={first['next_cursor']}")).body
    assert [one["id"] for page in (first, second) for one in page["items"]] == ["d0", "d1", "d2"]
    assert second["next_cursor"] is None


@pytest.mark.gen_test
async def test_doctor_query_is_refused_naming_the_field(api):
    refused = await api.get("/doctors?service=surgery")
    assert (refused.status, list(refused.body["errors"])) == (422, ["service"])
    assert (await api.get("/doctors?cursor=nonsense")).status == 422


@pytest.mark.feature("P1.1")
@pytest.mark.gen_test
async def test_ratings_are_newest_first_under_masked_names(api, ctx):
    await register_doctors(ctx, a_doctor("a"))
    for stars in (3, 5):
        await ctx.ratings.add(
            {
                "_id": new_id(),
                "visit_id": new_id(),
                "doctor_id": "a",
                "patient_account": "p",
                "author": "张*",
                "stars": stars,
                "text": f"{stars} 星",
                "at": NOW,
                "retain_until": NOW,
            }
        )
    await service.recount_ratings(ctx, "a")
    first = (await api.get("/doctors/a/ratings?limit=1")).body
    assert first["items"] == [{"author": "张*", "stars": 5, "text": "5 星", "at": "2026-11-02T04:00:00.000Z"}]
    assert (first["average"], first["count"]) == (4.0, 2)
    second = (await api.get(f"/doctors/a/ratings?limit=1&cursor={first['next_cursor']}")).body
    assert ([one["stars"] for one in second["items"]], second["next_cursor"]) == ([3], None)
    assert (await api.get("/doctors/nobody/ratings")).status == 404


@pytest.mark.rule("R3-1")
@pytest.mark.gen_test
async def test_consent_text_in_force_and_any_version_can_be_read(api, ctx):
    for version in ("1", "2"):
        await service.publish_consent_text(
            ctx, kind="consult_notice", version=version, title="告知", body="正文", effective_at=NOW, by="office"
        )
        ctx.clock.step(1)
    shown = (await api.get("/consent-texts/consult_notice")).body
    assert shown == {
        "kind": "consult_notice",
        "version": "2",
        "title": "告知",
        "body": "正文",
        "hash": service.hash_of("正文"),
        "effective_at": "2026-11-02T04:00:00.000Z",
    }
    assert (await api.get("/consent-texts/consult_notice?version=1")).body["version"] == "1"
    assert (await api.get("/consent-texts/consult_notice?version=3")).status == 404
    assert (await api.get("/consent-texts/nonsense")).status == 404


@pytest.mark.feature("P1.4")
@pytest.mark.gen_test
async def test_only_enabled_consultation_types_are_offered_in_their_order(api, ctx):
    for id_, order, enabled in (("b", 2, True), ("a", 3, True), ("c", 1, False), ("d", 1, True)):
        kind = {"_id": id_, "name": f"类型{id_}", "description": "", "order": order, "enabled": enabled}
        await ctx.consult_types.add(kind)
    assert (await api.get("/consult-types")).body == {
        "items": [{"id": id_, "name": f"类型{id_}", "description": ""} for id_ in "dba"],
        "next_cursor": None,
    }


@pytest.mark.gen_test
async def test_divisions_are_read_level_by_level(api):
    provinces = (await api.get("/divisions")).body["items"]
    assert {"code": "440000", "name": "广东省", "parent": "", "leaf": False} in provinces
    cities = (await api.get("/divisions?parent=440000")).body["items"]
    assert {"code": "440300", "name": "深圳市", "parent": "440000", "leaf": False} in cities
    assert (await api.get("/divisions?parent=990000")).status == 404
    assert (await api.get("/divisions?parent=x")).status == 422


@pytest.mark.gen_test
async def test_emoji_are_listed_by_code(api):
    assert (await api.get("/emoji")).body["items"][0] == {"code": "smile", "name": "微笑", "char": "🙂"}
