import pytest

from storage.departments import DepartmentRepository


@pytest.mark.gen_test
async def test_department_is_added_once(store):
    departments = DepartmentRepository(store)
    assert await departments.add({"_id": "cardiology", "name": "第一"}) is True
    assert await departments.add({"_id": "cardiology", "name": "第二"}) is False
    assert await departments.every() == [{"_id": "cardiology", "name": "第一"}]
