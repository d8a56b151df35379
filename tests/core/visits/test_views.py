import pytest

from core.visits import views


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test(timeout=30)
async def test_a_line_masks_the_patient_and_shows_the_first_words_of_the_illness(house):
    words = {"description": "胸闷" * 40, "duration": "一周", "history": "", "allergies": ""}
    case = await house.submitted(condition=words)
    line = views.item(house.ctx, await case.visit())
    assert line["patient"]["name"] == "演*"
    assert line["summary"] == "胸闷" * 20
    assert line["doctor"] == {"id": case.doctor.id, "name": "王小明", "department_id": "cardiology"}


@pytest.mark.feature("D5.8")
@pytest.mark.gen_test(timeout=30)
async def test_the_detail_opens_what_is_sealed_and_lays_order_and_chat_beside(house):
    case = await house.in_progress()
    shown = await views.detail(house.ctx, await case.visit())
    assert shown["patient"]["name"] == "演示家属"
    assert shown["condition"] == {"description": "头痛两天", "duration": "", "history": "", "allergies": ""}
    assert (shown["order"]["_id"], shown["order"]["status"]) == (case.order_id, "paid")
    assert (shown["conversation"], shown["last_seq"]) == (case.id, 2)
    assert (shown["attachments"], shown["advice"], shown["rating"]) == ([], None, None)


@pytest.mark.gen_test(timeout=30)
async def test_a_free_visit_has_no_order_to_show(house):
    case = await house.submitted(house.free_doctor)
    assert (await views.detail(house.ctx, await case.visit()))["order"] is None


@pytest.mark.rule("R3-3")
@pytest.mark.gen_test(timeout=30)
async def test_the_guardian_of_a_child_is_named_to_the_two_and_to_nobody_else(house):
    case = await house.submitted()
    visit = await case.visit()
    sealed = house.ctx.cipher.seal("演示监护人", field="patient.guardian.name")
    visit["patient"]["guardian"] = {"name": sealed, "relation": "father"}
    shown = await views.detail(house.ctx, visit)
    assert shown["patient"]["guardian"] == {"name": "演示监护人", "relation": "father"}
