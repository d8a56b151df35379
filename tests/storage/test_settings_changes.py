from datetime import UTC, datetime

import pytest

from storage.settings_changes import SettingsChangeRepository

NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)


def _change(number, **values):
    steps = [{"name": name, "frm": None, "to": value} for name, value in values.items()]
    return {"_id": number, "steps": steps, "values": values, "actor": "office", "role": "admin", "at": NOW}


@pytest.fixture
def changes(io_loop, store):
    io_loop.run_sync(lambda: store.db["settings_changes"].delete_many({}))
    return SettingsChangeRepository(store)


@pytest.mark.gen_test
async def test_the_last_change_is_the_one_with_the_highest_number(changes):
    assert await changes.last() is None
    for number in (1, 2, 10, 9):
        assert await changes.add(_change(number, visits_per_hour=number)) is True
    assert await changes.last() == _change(10, visits_per_hour=10)


@pytest.mark.gen_test
async def test_a_number_is_given_once_and_the_first_stays(changes):
    assert await changes.add(_change(1, visits_per_hour=5)) is True
    assert await changes.add(_change(1, visits_per_hour=6)) is False
    assert await changes.last() == _change(1, visits_per_hour=5)


@pytest.mark.gen_test
async def test_changes_are_read_newest_first_page_by_page(changes):
    for number in range(1, 6):
        await changes.add(_change(number))
    first = await changes.page(before=None, limit=2)
    rest = await changes.page(before=4, limit=10)
    assert [one["_id"] for one in (*first, *rest)] == [5, 4, 3, 2, 1]
