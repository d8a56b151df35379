import asyncio
from typing import Any

import pytest

from core.desk import profile
from core.directory import service as directory
from core.errors import Conflict, Invalid, NotFound
from scripts.story import clip, picture
from tests.core.desk.conftest import add_doctor
from tests.core.partial import caller_of


async def change(desk, **form: Any) -> dict[str, Any]:
    return await profile.change(desk.ctx, caller=desk.doctor, form=form)


async def stored(desk) -> Any:
    return await desk.ctx.doctors.get(desk.doctor.id)


def page(desk) -> dict[str, Any]:
    return directory.doctor_page(desk.ctx, desk.doctor.id)


@pytest.mark.feature("D4.2")
@pytest.mark.gen_test
async def test_text_and_fees_are_changed_for_everybody_at_once(desk):
    changed = await change(desk, introduction="擅长高血压", skills=["高血压", "房颤"], fees={"consult": 4_500})
    assert (changed["introduction"], changed["skills"]) == ("擅长高血压", ["高血压", "房颤"])
    assert (changed["fees"], changed["version"]) == ({"consult": 4_500, "followup": 0}, 2)
    shown = page(desk)
    assert (shown["introduction"], shown["skills"]) == ("擅长高血压", ["高血压", "房颤"])
    assert shown["fees"] == {"consult": 4_500, "followup": 0}
    acts = [(one["act"], one["actor"], one["role"]) for one in (await stored(desk))["history"]]
    assert acts == [(f"change_{name}", desk.doctor.id, "doctor") for name in ("introduction", "skills", "fees")]


@pytest.mark.gen_test
async def test_what_already_is_so_is_no_change(desk):
    before = await stored(desk)
    assert (await change(desk, introduction=before["introduction"], services=["followup", "consult"]))["version"] == 1
    assert await stored(desk) == before


@pytest.mark.feature("D4.2")
@pytest.mark.parametrize("fee", [-1, 50_001])
@pytest.mark.gen_test
async def test_a_fee_outside_the_hospitals_bounds_is_refused_by_its_name(desk, fee):
    before = await stored(desk)
    with pytest.raises(Invalid) as refused:
        await change(desk, introduction="新", fees={"consult": fee, "followup": 100})
    assert refused.value.errors == {"fees.consult": ["须在 0.00 元到 500.00 元之间"]}
    assert await stored(desk) == before
    assert (await change(desk, fees={"consult": 50_000}))["fees"]["consult"] == 50_000


@pytest.mark.feature("D4.2")
@pytest.mark.gen_test
async def test_a_service_is_turned_off_and_on_again_within_what_was_granted(desk):
    off = await change(desk, services=["followup"])
    assert (off["services"], off["granted"], off["offered"]) == (["followup"], ["consult", "followup"], ["followup"])
    with pytest.raises(Conflict) as refused:
        await directory.require_offered(desk.ctx, desk.doctor.id, "consult")
    assert refused.value.code == "doctor_unavailable"
    assert page(desk)["services"] == ["followup"]
    nothing = await change(desk, services=[])
    assert (nothing["services"], page(desk)["services"], page(desk)["online"]) == ([], [], False)
    again = await change(desk, services=["consult", "followup"])
    assert (again["services"], page(desk)["services"]) == (["consult", "followup"], ["consult", "followup"])


@pytest.mark.gen_test
async def test_a_service_that_was_not_granted_or_has_no_fee_cannot_be_turned_on(house):
    doctor = await add_doctor(house, services=["consult"], fees={})
    before = await house.ctx.doctors.get(doctor.id)
    with pytest.raises(Invalid) as refused:
        await profile.change(house.ctx, caller=doctor, form={"services": ["consult", "followup"]})
    assert list(refused.value.errors) == ["services", "fees.consult", "fees.followup"]
    assert await house.ctx.doctors.get(doctor.id) == before
    done = await profile.change(house.ctx, caller=doctor, form={"services": ["consult"], "fees": {"consult": 100}})
    assert done["offered"] == ["consult"]


@pytest.mark.gen_test
async def test_who_names_an_old_version_is_refused(desk):
    await change(desk, introduction="第一", version=1)
    with pytest.raises(Conflict) as refused:
        await change(desk, introduction="第二", version=1)
    assert refused.value.code == "conflict"
    assert (await stored(desk))["introduction"] == "第一"


@pytest.mark.gen_test(timeout=20)
async def test_changes_of_several_devices_at_once_all_stand_or_are_refused(desk):
    fields = [{"introduction": "新"}, {"skills": ["房颤"]}, {"fees": {"consult": 100}}]
    await asyncio.gather(*(change(desk, **one) for one in fields), directory.set_duty(desk.ctx, desk.doctor.id, False))
    after = await profile.read(desk.ctx, caller=desk.doctor)
    assert (after["introduction"], after["skills"], after["fees"]["consult"]) == ("新", ["房颤"], 100)
    assert (after["online"], after["version"]) == (False, 5)


@pytest.mark.feature("D4.2")
@pytest.mark.rule("R2-5")
@pytest.mark.gen_test(timeout=30)
async def test_the_photo_is_seen_by_everybody_and_changes_at_once(desk):
    anybody = desk.house.person(caller_of("patient"))
    anybody.token = ""
    path = f"/doctors/{desk.doctor.id}/photo"
    assert (await anybody.send("GET", path)).status_code == 404
    images = [await desk.person.upload(picture(400 + n, 300), "image/jpeg") for n in range(2)]
    seen = []
    for image in images:
        changed = await change(desk, photo=image["id"])
        assert (changed["photo"], changed["photo_url"]) == (image["id"], f"/api/v1{path}")
        answer = await anybody.send("GET", path)
        seen.append(answer)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
        assert answer.content[:3] == b"\xff\xd8\xff"
        same = await anybody.send("GET", path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (same.status_code, same.content) == (304, b"")
    assert seen[0].headers["ETag"] != seen[1].headers["ETag"]
    assert seen[1].headers["Cache-Control"] == "public, no-cache"
    assert page(desk)["photo"] == f"/api/v1{path}"
    kept = await desk.ctx.media.get(images[0]["id"])
    assert (kept["visits"], kept["readers"]) == ([f"doctor:{desk.doctor.id}"], [])
    await change(desk, photo=None)
    assert (await anybody.send("GET", path)).status_code == 404
    assert page(desk)["photo"] is None


@pytest.mark.gen_test(timeout=30)
async def test_only_ones_own_finished_image_becomes_the_photo(desk, other):
    theirs = await other.person.upload(picture(400, 300), "image/jpeg")
    film = await desk.person.upload(clip(), "video/mp4")
    before = await stored(desk)
    for wrong in (theirs["id"], film["id"], "unknown"):
        with pytest.raises(Invalid) as refused:
            await change(desk, photo=wrong)
        assert list(refused.value.errors) == ["photo"]
    assert await stored(desk) == before
    assert (await desk.ctx.media.get(theirs["id"]))["visits"] == []


@pytest.mark.gen_test
async def test_a_doctor_without_a_page_has_no_profile(house):
    for asked in (
        profile.read(house.ctx, caller=caller_of("doctor")),
        profile.change(house.ctx, caller=caller_of("doctor"), form={"introduction": "新"}),
    ):
        with pytest.raises(NotFound):
            await asked
