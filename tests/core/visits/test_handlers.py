import pytest

from scripts.acting import Refused
from tests.core.partial import caller_of

ACTS = {
    "cancel": None,
    "accept": None,
    "decline": {"reason": "正在手术"},
    "complete": None,
    "terminate": {"reason": "UNSUITABLE", "advice": "建议线下检查"},
    "refund": {"reason": "误操作"},
}


async def post(house, caller, path, body=None, *, key=None):
    """Status and body of a POST."""
    answer = await house.person(caller).send("POST", path, json=body, key=key)
    return answer.status_code, answer.json() if answer.content else None


@pytest.mark.feature("P1.5")
@pytest.mark.gen_test(timeout=30)
async def test_a_repeat_of_a_submission_whose_first_answer_was_lost_gets_the_same_visit(house):
    patient, patient_id = await house.patient()
    form = await house.form(patient_id)
    status, first = await post(house, patient, "/visits", form, key="lost-1")
    removed = await house.ctx.store.db["idempotency"].delete_one({"_id": f"{patient.id}:lost-1"})
    again_status, again = await post(house, patient, "/visits", form, key="lost-1")
    assert (status, again_status, removed.deleted_count) == (201, 201, 1)
    assert again == first
    assert again["order"]["status"] == "pending"
    assert len((await house.person(patient).get("/visits"))["items"]) == 1


@pytest.mark.gen_test(timeout=30)
async def test_a_submission_that_died_before_its_order_is_answered_whole_under_the_same_key(house, monkeypatch):
    patient, patient_id = await house.patient()
    form = await house.form(patient_id)

    async def die(collection, id_):
        return None

    with monkeypatch.context() as dying:
        dying.setattr(house.ctx.duties, "run_now", die)
        refused_status, refused = await post(house, patient, "/visits", form, key="lost-2")
    status, visit = await post(house, patient, "/visits", form, key="lost-2")
    assert (refused_status, refused["code"]) == (409, "in_progress")
    assert (status, visit["order"]["status"]) == (201, "pending")
    assert [one["id"] for one in (await house.person(patient).get("/visits"))["items"]] == [visit["id"]]


@pytest.mark.gen_test(timeout=30)
async def test_acts_answer_the_visit_as_it_stands_after(house):
    case = await house.waiting()
    _, accepted = await post(house, case.doctor, f"/visits/{case.id}/accept")
    _, ended = await post(house, case.doctor, f"/visits/{case.id}/terminate", ACTS["terminate"])
    again_status, again = await post(house, case.doctor, f"/visits/{case.id}/terminate", ACTS["terminate"])
    assert (accepted["status"], accepted["accepted_at"] is not None) == ("in_progress", True)
    assert (ended["status"], ended["advice"], ended["reason"]) == ("terminated", "建议线下检查", "UNSUITABLE")
    assert (again_status, again) == (200, ended)
    assert [step["act"] for step in ended["history"]] == ["create", "submit", "accept", "terminate"]
    assert {key for step in ended["history"] for key in step} == {"act", "from", "to", "role", "reason", "at"}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.gen_test(timeout=30)
async def test_an_act_is_refused_to_the_other_role_and_not_found_by_strangers(house, act):
    case = await house.in_progress()
    before = await case.visit()
    other, stranger = ("doctor", caller_of("patient")) if act == "cancel" else ("patient", house.other_doctor)
    wrong = case.doctor if other == "doctor" else case.patient
    path = f"/visits/{case.id}/{act}"
    assert (await post(house, wrong, path, ACTS[act], key="k"))[0] == 403
    assert (await post(house, stranger, path, ACTS[act], key="k"))[0] == 404
    assert await case.visit() == before


@pytest.mark.gen_test(timeout=30)
async def test_a_refund_needs_a_key_and_is_answered_from_it(house):
    case = await house.completed()
    path = f"/visits/{case.id}/refund"
    without, problem = await post(house, case.doctor, path, ACTS["refund"])
    first = await post(house, case.doctor, path, ACTS["refund"], key="r")
    again = await post(house, case.doctor, path, ACTS["refund"], key="r")
    other, conflict = await post(house, case.doctor, path, {"reason": "别的"}, key="r")
    assert (without, list(problem["errors"])) == (422, ["Idempotency-Key"])
    assert (first[0], first) == (200, again)
    assert (other, conflict["code"]) == (409, "idempotency_conflict")


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test(timeout=30)
async def test_names_are_masked_in_lists_and_whole_in_the_detail(house):
    case = await house.waiting()
    for reader in (case.patient, case.doctor, await house.nurse()):
        listed = (await house.person(reader).get("/visits", limit=100))["items"]
        (line,) = [one for one in listed if one["id"] == case.id]
        assert line["patient"]["name"] == "演*"
        assert set(line["patient"]) == {"id", "name", "gender", "age", "relation"}
        assert not {"condition", "consents", "history", "request_id", "duties"} & set(line)
    for reader in (case.patient, case.doctor):
        assert (await house.person(reader).get(f"/visits/{case.id}"))["patient"]["name"] == "演示家属"


@pytest.mark.gen_test(timeout=30)
async def test_a_nurse_reads_list_and_illness_and_nothing_else(house):
    case, nurse = await house.waiting(), await house.nurse()
    person = house.person(nurse)
    illness = await person.get(f"/visits/{case.id}/illness")
    assert set(illness) == {"id", "status", "doctor", "patient", "condition", "created_at"}
    assert (illness["patient"]["name"], illness["condition"]["description"]) == ("演*", "头痛两天")
    for path in (f"/visits/{case.id}", f"/visits/{case.id}/rating", "/orders", "/desk/summary"):
        assert (await person.send("GET", path)).status_code == 403
    assert (await house.person(case.patient).send("GET", f"/visits/{case.id}/illness")).status_code == 403
    elsewhere = house.person(await house.nurse("dermatology"))
    assert (await elsewhere.send("GET", f"/visits/{case.id}/illness")).status_code == 404
    assert case.id not in [one["id"] for one in (await elsewhere.get("/visits"))["items"]]


@pytest.mark.gen_test(timeout=30)
async def test_a_nurse_without_a_department_reads_nothing(house):
    with pytest.raises(Refused) as refused:
        await house.person(caller_of("nurse")).get("/visits")
    assert refused.value.code == "not_found"


@pytest.mark.gen_test(timeout=30)
async def test_an_account_opens_only_so_many_visits_in_an_hour(house):
    patient = caller_of("patient")
    answers = [await house.person(patient).send("POST", "/visits", json={}, key=f"n{n}") for n in range(31)]
    assert [one.status_code for one in answers] == [422] * 30 + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 3_600


@pytest.mark.feature("D2.1")
@pytest.mark.gen_test(timeout=30)
async def test_the_doctor_goes_off_duty_and_on_again(house):
    person = house.person(house.other_doctor)
    for online in (False, True):
        assert await person.call("PUT", "/desk/duty", {"online": online}) == {"online": online}
        assert (await person.get("/desk/summary"))["online"] is online
    answer = await person.send("PUT", "/desk/duty", json={"online": "perhaps"})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["online"])


@pytest.mark.gen_test(timeout=30)
async def test_pages_follow_each_other_without_gap_or_repeat_while_rows_arrive(house):
    patient, patient_id = await house.patient()
    form = await house.form(patient_id, house.free_doctor)
    made = [(await house.submit(patient, form))["_id"] for _ in range(5)]
    person = house.person(patient)
    first = await person.get("/visits", limit=2)
    await house.submit(patient, form)
    second = await person.get("/visits", limit=2, cursor=first["next_cursor"])
    third = await person.get("/visits", limit=2, cursor=second["next_cursor"])
    seen = [one["id"] for page in (first, second, third) for one in page["items"]]
    assert seen == made[::-1]
    assert third["next_cursor"] is None
