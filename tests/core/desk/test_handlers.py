import pytest

from core.desk.handlers import ROUTES
from core.http import sign_of
from core.ids import new_id
from core.openapi import METHODS, path_of
from scripts.acting import Refused
from tests.core.partial import caller_of

SIGNS = [
    (method, path_of(pattern, handler), sign_of(handler, method))
    for pattern, handler in ROUTES
    for method in METHODS
    if sign_of(handler, method) is not None
]
DOORS = [(method.upper(), path.removeprefix("/api/v1")) for method, path, _ in SIGNS]


async def refusal(answer) -> Refused:
    with pytest.raises(Refused) as refused:
        await answer
    return refused.value


def test_every_door_of_the_desk_is_for_doctors_and_says_so():
    assert len(SIGNS) == 15
    assert {sign.roles for _, _, sign in SIGNS} == {frozenset({"doctor"})}
    assert all(sign.summary for _, _, sign in SIGNS)


@pytest.mark.parametrize(("method", "path"), DOORS)
@pytest.mark.gen_test
async def test_nobody_else_gets_in(desk, method, path):
    place = path.format(group_id=new_id(), patient_id=new_id())
    for role in ("patient", "nurse", "pharmacist", "admin", "auditor", "regulator"):
        answer = await desk.house.person(caller_of(role)).send(method, place, json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    stranger = desk.house.person(caller_of("doctor"))
    stranger.token = ""
    assert (await stranger.send(method, place, json={})).status_code == 401


@pytest.mark.feature("D3.1")
@pytest.mark.gen_test(timeout=30)
async def test_a_doctor_sorts_the_patients_and_reads_their_history(desk):
    first, second = await desk.new_patient("欧阳甲"), await desk.new_patient("司马乙")
    doctor = desk.person
    groups = [await doctor.post("/desk/groups", {"name": name}) for name in ("复查", "高血压")]
    for group in groups:
        assert await doctor.call("PUT", f"/desk/groups/{group['id']}/patients/{first.patient}") is None
    renamed = await doctor.call("PATCH", f"/desk/groups/{groups[0]['id']}", {"name": "随访"})
    assert (renamed["name"], renamed["patients"]) == ("随访", 1)
    listed = await doctor.get("/desk/groups")
    assert [(group["name"], group["patients"]) for group in listed["items"]] == [("随访", 1), ("高血压", 1)]

    everybody = await doctor.get("/desk/patients")
    assert [(one["id"], one["name"]) for one in everybody["items"]] == [(second.patient, "司*"), (first.patient, "欧*")]
    page = await doctor.get("/desk/patients", limit=1)
    rest = await doctor.get("/desk/patients", limit=1, cursor=page["next_cursor"])
    assert [one["id"] for one in page["items"] + rest["items"]] == [second.patient, first.patient]
    grouped = await doctor.get("/desk/patients", group=groups[1]["id"], q="欧")
    assert [one["id"] for one in grouped["items"]] == [first.patient]
    assert "birth_date" not in grouped["items"][0]

    record = await doctor.get(f"/desk/patients/{first.patient}", limit=5)
    assert (record["name"], record["age"] >= 36, record["visits"]) == ("欧阳甲", True, 1)
    assert [group["name"] for group in record["groups"]] == ["随访", "高血压"]
    assert [(one["status"], one["summary"]) for one in record["history"]["items"]] == [("waiting", "头痛两天")]
    assert record["history"]["next_cursor"] is None

    await doctor.call("DELETE", f"/desk/groups/{groups[0]['id']}/patients/{first.patient}")
    await doctor.call("DELETE", f"/desk/groups/{groups[0]['id']}")
    left = (await doctor.get(f"/desk/patients/{first.patient}"))["groups"]
    assert [group["name"] for group in left] == ["高血压"]


@pytest.mark.feature("D3.1")
@pytest.mark.gen_test(timeout=30)
async def test_what_is_another_doctors_is_not_found_and_stays_as_it_is(desk, other):
    who = await desk.new_patient()
    group = await desk.person.post("/desk/groups", {"name": "复查"})
    path = f"/desk/groups/{group['id']}"
    before = await desk.ctx.patient_groups.get(group["id"])
    for method, place, body in (
        ("PATCH", path, {"name": "我的"}),
        ("DELETE", path, None),
        ("PUT", f"{path}/patients/{who.patient}", None),
        ("DELETE", f"{path}/patients/{who.patient}", None),
        ("GET", f"/desk/patients/{who.patient}", None),
        ("GET", f"/desk/patients?group={group['id']}", None),
    ):
        assert (await refusal(other.person.call(method, place, body))).code == "not_found"
    assert await desk.ctx.patient_groups.get(group["id"]) == before
    assert (await refusal(desk.person.post("/desk/groups", {"name": "复查"}))).code == "duplicate"
    assert (await refusal(desk.person.get("/desk/patients", cursor="x"))).code == "invalid"


@pytest.mark.feature("D4.1")
@pytest.mark.gen_test(timeout=30)
async def test_the_desk_answers_orders_and_income_by_their_wire_names(desk):
    empty = await desk.person.get("/desk/orders", **{"from": "2026-01-01", "to": "2026-01-31", "status": "paid"})
    found = await desk.person.get("/desk/income", **{"by": "month", "from": "2026-01-01", "to": "2026-02-28"})
    nothing = {"paid": 0, "paid_count": 0, "refunded": 0, "refunded_count": 0, "net": 0}
    assert empty == {"items": [], "next_cursor": None}
    assert found == {
        "by": "month",
        "from": "2026-01-01",
        "to": "2026-02-28",
        "items": [{"period": "2026-01", **nothing}, {"period": "2026-02", **nothing}],
        "total": nothing,
    }
    for wrong in ({"from": "2026-02-30"}, {"from": "2026-02-01", "to": "2026-01-01"}):
        refused = await refusal(desk.person.get("/desk/income", **wrong))
        assert (refused.code, list(refused.body["errors"])) == ("invalid", ["from"])


@pytest.mark.feature("D4.2")
@pytest.mark.gen_test(timeout=30)
async def test_the_doctor_edits_the_page_that_patients_read(desk):
    before = await desk.person.get("/desk/profile")
    assert (before["fee_bounds"], before["granted"]) == ({"low": 0, "high": 50_000}, ["consult", "followup"])
    changed = await desk.person.call(
        "PATCH",
        "/desk/profile",
        {"introduction": "擅长高血压", "fees": {"consult": 4_500}, "version": before["version"]},
    )
    shown = await desk.person.get(f"/doctors/{desk.doctor.id}")
    assert (changed["version"], changed["name"]) == (before["version"] + 1, "王小明")
    assert (shown["introduction"], shown["fees"]["consult"]) == ("擅长高血压", 4_500)
    stale = {"introduction": "旧", "version": before["version"]}
    assert (await refusal(desk.person.call("PATCH", "/desk/profile", stale))).code == "conflict"
    refused = await refusal(desk.person.call("PATCH", "/desk/profile", {"fees": {"consult": 50_001}}))
    assert (refused.code, list(refused.body["errors"])) == ("invalid", ["fees.consult"])
    assert await desk.person.get("/desk/profile") == changed


@pytest.mark.feature("D4.3")
@pytest.mark.gen_test(timeout=30)
async def test_the_doctor_reads_what_patients_said(desk):
    visit = await desk.rated(await desk.asking("欧阳甲"), 4, "讲得很清楚")
    found = await desk.person.get("/desk/ratings")
    (said,) = found["items"]
    assert (said["visit"], said["author"], said["stars"], said["text"]) == (visit, "欧*", 4, "讲得很清楚")
    assert (found["average"], found["count"], found["distribution"]["4"]) == (4.0, 1, 1)


@pytest.mark.gen_test(timeout=30)
async def test_quick_replies_are_kept_in_their_order(desk):
    assert await desk.person.get("/desk/quick-replies") == {"replies": [], "version": 0}
    saved = await desk.person.call("PUT", "/desk/quick-replies", {"replies": ["您好", "请多喝水"], "version": 0})
    assert saved == {"replies": ["您好", "请多喝水"], "version": 1}
    refused = await refusal(desk.person.call("PUT", "/desk/quick-replies", {"replies": [], "version": 0}))
    assert refused.code == "conflict"
    assert await desk.person.get("/desk/quick-replies") == saved
