import pytest

from storage.hospitals import HOSPITAL_ID, HospitalRepository


@pytest.mark.gen_test
async def test_hospital_is_described_once(store):
    hospitals = HospitalRepository(store)
    assert await hospitals.get() is None
    assert await hospitals.add({"_id": HOSPITAL_ID, "name": "第一"}) is True
    assert await hospitals.add({"_id": HOSPITAL_ID, "name": "第二"}) is False
    assert (await hospitals.get())["name"] == "第一"
