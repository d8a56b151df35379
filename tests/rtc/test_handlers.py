import pytest

from rtc import service
from scripts.acting import Refused


@pytest.mark.gen_test
async def test_the_two_read_the_calls_of_a_visit_page_by_page_and_each_call(calling, case):
    made = []
    for _ in range(3):
        call = await calling.ringing(case)
        await service.end(calling.ctx, calling.session(case.patient), call_id=call["_id"], act="decline")
        made.insert(0, call["_id"])
    for who in (case.patient, case.doctor):
        person = calling.house.person(who)
        page = await person.get(f"/visits/{case.id}/calls", limit=2)
        rest = await person.get(f"/visits/{case.id}/calls", limit=2, cursor=page["next_cursor"])
        assert [one["id"] for one in page["items"] + rest["items"]] == made
        assert rest["next_cursor"] is None
        detail = await person.get(f"/calls/{made[0]}")
        assert (detail["state"], detail["reason"]) == ("ended", "declined")
        assert [step["act"] for step in detail["history"]] == ["invite", "decline"]


@pytest.mark.gen_test
async def test_nobody_else_finds_them(calling, case):
    call = await calling.ringing(case)
    stranger = calling.house.person((await calling.house.patient())[0])
    for path in (f"/visits/{case.id}/calls", f"/calls/{call['_id']}", "/calls/01J0000000000000000000000A"):
        with pytest.raises(Refused) as refused:
            await stranger.get(path)
        assert refused.value.code == "not_found"
