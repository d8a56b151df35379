import pytest

from core.auth import ROLES
from tests.core.partial import caller_of

PATH = "/admin/consult-types"


@pytest.fixture
def admin():
    return caller_of("admin")


async def offered(api) -> list[str]:
    return [one["name"] for one in (await api.get("/consult-types")).body["items"]]


@pytest.mark.feature("P1.4")
@pytest.mark.gen_test
async def test_office_creates_renames_orders_and_disables_and_patients_see_it_at_once(api, admin):
    first = await api.call("POST", PATH, {"name": "报告解读"}, caller=admin)
    assert (first.status, first.body["order"], first.body["version"]) == (201, 1, 1)
    second = (await api.call("POST", PATH, {"name": "用药咨询"}, caller=admin)).body
    assert await offered(api) == ["报告解读", "用药咨询"]

    path = f"{PATH}/{second['id']}"
    renamed = await api.call("PATCH", path, {"name": "用药指导", "order": 0, "version": 1}, caller=admin)
    assert (renamed.status, renamed.body["version"]) == (200, 2)
    assert await offered(api) == ["用药指导", "报告解读"]

    assert (await api.call("PATCH", path, {"enabled": False}, caller=admin)).status == 200
    assert await offered(api) == ["报告解读"]
    kept = (await api.get(PATH, caller=admin)).body["items"]
    assert [(one["name"], one["enabled"]) for one in kept] == [("用药指导", False), ("报告解读", True)]
    assert [step["act"] for step in kept[0]["history"]] == ["create", "rename", "reorder", "disable"]
    assert (kept[0]["history"][1]["from"], kept[0]["history"][1]["actor"]) == ("用药咨询", admin.id)


@pytest.mark.gen_test
async def test_stale_version_and_taken_name_are_conflicts(api, admin):
    made = (await api.call("POST", PATH, {"name": "报告解读"}, caller=admin)).body
    await api.call("PATCH", f"{PATH}/{made['id']}", {"order": 3}, caller=admin)
    stale = await api.call("PATCH", f"{PATH}/{made['id']}", {"name": "报告", "version": 1}, caller=admin)
    assert (stale.status, stale.body["code"]) == (409, "conflict")
    taken = await api.call("POST", PATH, {"name": "报告解读"}, caller=admin)
    assert (taken.status, taken.body["code"], list(taken.body["errors"])) == (409, "duplicate", ["name"])
    assert await offered(api) == ["报告解读"]


@pytest.mark.gen_test
async def test_types_cannot_be_deleted(api, admin):
    made = (await api.call("POST", PATH, {"name": "报告解读"}, caller=admin)).body
    assert (await api.call("DELETE", f"{PATH}/{made['id']}", caller=admin)).status == 405
    assert await offered(api) == ["报告解读"]


@pytest.mark.gen_test
async def test_only_the_administrator_of_the_hospital_comes_in(api):
    assert (await api.get(PATH)).status == 401
    for role in set(ROLES) - {"admin"}:
        for method, path, body in (
            ("GET", PATH, None),
            ("POST", PATH, {"name": "报告解读"}),
            ("PATCH", f"{PATH}/x", {"name": "报告"}),
        ):
            assert (await api.call(method, path, body, caller=caller_of(role))).status == 403
    assert await offered(api) == []
