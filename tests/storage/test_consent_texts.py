from datetime import UTC, datetime, timedelta

import pytest

from storage.consent_texts import ConsentTextRepository
from tests.storage.plans import watched

AT = datetime(2026, 11, 2, 4, tzinfo=UTC)


def text(kind: str, version: str, days: int, **changes):
    at = AT + timedelta(days=days)
    return {
        "kind": kind,
        "version": version,
        "effective_at": at,
        "created_at": at,
    } | changes


@pytest.mark.gen_test
async def test_text_in_force_is_the_latest_that_has_begun(store):
    texts = ConsentTextRepository(store)
    for version, days in (("2", 2), ("1", 1), ("3", 3)):
        assert await texts.add(text("notice", version, days)) is True
    await texts.add(text("other", "9", 0))
    found = [await texts.in_force("notice", AT + timedelta(days=days)) for days in (0, 1, 2, 9)]
    assert [one and one["version"] for one in found] == [None, "1", "2", "3"]


@pytest.mark.gen_test
async def test_version_is_published_once(store):
    texts = ConsentTextRepository(store)
    assert await texts.add(text("once", "1", 0, body="第一")) is True
    assert await texts.add(text("once", "1", 0, body="第二")) is False
    assert (await texts.get("once", "1"))["body"] == "第一"
    assert await texts.get("once", "2") is None


@pytest.mark.gen_test
async def test_texts_are_found_by_an_index(mongo_uri, database):
    async with watched(mongo_uri, database) as (store, plans):
        await ConsentTextRepository(store).in_force("notice", AT)
        assert await plans.scans() == []


@pytest.mark.gen_test
async def test_all_versions_are_listed_by_kind_the_latest_first(store):
    texts = ConsentTextRepository(store)
    for kind, version, days in (("zz_b", "1", 1), ("zz_a", "1", 1), ("zz_a", "2", 2)):
        await texts.add(text(kind, version, days))
    found = [(one["kind"], one["version"]) for one in await texts.every() if one["kind"].startswith("zz_")]
    assert found == [("zz_a", "2"), ("zz_a", "1"), ("zz_b", "1")]
