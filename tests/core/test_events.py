from types import SimpleNamespace

import pytest

from core import events


class RecordingBus:
    def __init__(self) -> None:
        self.published: list = []

    async def publish(self, envelopes) -> None:
        self.published += envelopes


@pytest.mark.gen_test
async def test_an_event_is_published_once_to_each_account():
    bus = RecordingBus()
    await events.publish(SimpleNamespace(bus=bus), "visit.updated", to=["b", "a", "b"], data={"visit": "v"})
    assert bus.published == [{"to": ["a", "b"], "ev": "visit.updated", "data": {"visit": "v"}}]
