"""The table of events."""

from im.told import EVENTS


def test_the_events_of_this_part_of_the_protocol_are_in_the_table():
    assert set(EVENTS) == {
        "message.created",
        "message.read",
        "typing",
        "visit.updated",
        "order.updated",
        "desk.updated",
        "session.replaced",
        "drain",
    }
