from datetime import UTC, datetime

import pytest

from storage.departments import DepartmentRepository

AT = datetime(2026, 11, 2, 4, tzinfo=UTC)


@pytest.mark.gen_test
async def test_department_is_added_once(store):
    departments = DepartmentRepository(store)
    assert await departments.add({"_id": "cardiology", "name": "第一"}) is True
    assert await departments.add({"_id": "cardiology", "name": "第二"}) is False
    assert await departments.every() == [{"_id": "cardiology", "name": "第一"}]


@pytest.mark.gen_test
async def test_a_department_is_changed_only_as_it_was_seen(store):
    departments = DepartmentRepository(store)
    await departments.add({"_id": "rehabilitation", "name": "康复医学科"})
    seen = await departments.get("rehabilitation")
    assert await departments.change(seen, {"name": "康复科"}, entries=[{"act": "one"}], at=AT) is True
    assert await departments.change(seen, {"name": "别的"}, entries=[{"act": "two"}], at=AT) is False
    changed = await departments.get("rehabilitation")
    assert (changed["name"], changed["version"], changed["history"]) == ("康复科", 2, [{"act": "one"}])
    assert await departments.change(changed, {"order": 3}, entries=[{"act": "three"}], at=AT) is True
    assert (await departments.get("rehabilitation"))["version"] == 3
    assert await departments.get("nothing") is None
