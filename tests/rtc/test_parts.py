"""What a call's recording consists of."""

from datetime import UTC, datetime, timedelta

import pytest

from rtc import parts

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
ROOM, LATER = "a" * 16, "b" * 16


def a_segment(name="doctor-1-1.webm", size=10):
    return {"name": name, "size": size, "sha256": f"sha-{name}", "side": name.partition("-")[0]}


def a_part(*segments, opened_at=NOW, collected=True, **more):
    part = {"opened_at": opened_at, "began_at": opened_at, "collected_at": NOW if collected else None}
    return part | {"segments": list(segments), "timeline": [], "unreadable": []} | more


def a_film(**more):
    made = {"next_at": None, "claim": None, "attempts": 1, "error": None, "file": "recording:c1:film:t.mp4"}
    return made | {"segments": 1, "made_at": NOW, "size": 99, "pictures": 25, "sha256": "sha-film"} | more


def a_call(recordings, **more):
    call = {"_id": "c1", "status": "ended", "started_at": NOW, "film": None, "recording_faults": []}
    return call | {"recordings": recordings} | more


def test_a_folder_names_its_call_and_room():
    assert parts.call_and_room(f"01J-x_y.{ROOM}") == ("01J-x_y", ROOM)
    for name in ("c1", f"c1.{ROOM}0", f"../c1.{ROOM}", "c1.lock"):
        assert parts.call_and_room(name) is None


def test_every_file_has_its_call_in_its_name():
    for file in (parts.file_of("c1", ROOM, "doctor-1-1.webm"), parts.film_of("c1", "t")):
        assert (file.startswith(parts.PREFIX), parts.call_of(file)) == (True, "c1")


def test_segments_come_in_the_order_of_their_rooms():
    call = a_call(
        {ROOM: a_part(a_segment("doctor-2-1.webm"), opened_at=NOW + timedelta(seconds=9)), LATER: a_part(a_segment())}
    )
    assert [(room, one["name"]) for room, one in parts.segments(call)] == [
        (LATER, "doctor-1-1.webm"),
        (ROOM, "doctor-2-1.webm"),
    ]


def test_the_time_line_is_of_the_wall_clock():
    first = a_part(timeline=[{"offset": 3.0, "side": "doctor", "what": "left"}])
    second = a_part(
        opened_at=NOW + timedelta(seconds=1), timeline=[{"offset": 1.0, "side": "doctor", "what": "joined"}]
    )
    found = parts.timeline(a_call({ROOM: first, LATER: second}))
    assert [(one["what"], one["at"] - NOW) for one in found] == [
        ("joined", timedelta(seconds=2)),
        ("left", timedelta(seconds=3)),
    ]


def test_the_call_names_segments_manifests_what_cannot_be_played_and_its_film():
    call = a_call({ROOM: a_part(a_segment(), unreadable=["patient-1-1.webm"])}, film=a_film())
    assert parts.files(call) == {
        f"recording:c1:{ROOM}:doctor-1-1.webm": 10,
        f"recording:c1:{ROOM}:patient-1-1.webm": None,
        f"recording:c1:{ROOM}:manifest.json": None,
        "recording:c1:film:t.mp4": 99,
    }


@pytest.mark.parametrize(
    ("call", "file", "is_owned"),
    [
        (None, f"recording:c1:{ROOM}:doctor-1-1.webm", False),
        (a_call({ROOM: a_part(a_segment())}), f"recording:c1:{ROOM}:doctor-1-1.webm", True),
        (a_call({ROOM: a_part(a_segment())}), f"recording:c1:{ROOM}:doctor-9-1.webm", False),
        (a_call({ROOM: a_part(collected=False)}), f"recording:c1:{ROOM}:doctor-9-1.webm", True),  # on its way
        (a_call({}), f"recording:c1:{ROOM}:doctor-1-1.webm", False),
        (a_call({}, film=a_film(claim="u")), "recording:c1:film:u.mp4", True),  # being made
        (a_call({}, film=a_film()), "recording:c1:film:u.mp4", False),
    ],
)
def test_a_file_is_a_calls_when_it_names_it_or_will(call, file, is_owned):
    assert parts.owns(call, file) is is_owned


WHOLE = a_call({ROOM: a_part(a_segment())}, film=a_film())
STORED = {f"recording:c1:{ROOM}:doctor-1-1.webm": 10, f"recording:c1:{ROOM}:manifest.json": 7, a_film()["file"]: 99}


@pytest.mark.rule("R5-2")
@pytest.mark.parametrize(
    ("call", "stored", "faults"),
    [
        (WHOLE, STORED, []),
        (WHOLE, {**STORED, a_film()["file"]: 98}, ["file_missing"]),
        (WHOLE, {name: size for name, size in STORED.items() if "webm" not in name}, ["file_missing"]),
        (a_call({ROOM: a_part(collected=False)}), {}, ["uncollected", "nothing_recorded"]),
        (a_call({}), {}, ["nothing_recorded"]),
        (a_call({}, started_at=None), {}, []),  # nobody talked
        ({**WHOLE, "film": a_film(file=None)}, STORED, ["not_composed"]),
    ],
)
def test_what_is_wrong_with_a_recording(call, stored, faults):
    assert parts.faults(call, stored) == faults


@pytest.mark.parametrize(
    ("call", "state"),
    [
        (a_call({}), "none"),
        (a_call({}, recording_faults=["nothing_recorded"]), "faulty"),
        (a_call({ROOM: a_part(collected=False)}, status="active"), "recording"),
        (a_call({ROOM: a_part(collected=False)}), "collecting"),
        (WHOLE, "stored"),
        ({**WHOLE, "recording_faults": ["file_missing"]}, "faulty"),
    ],
)
def test_how_far_a_recording_has_come(call, state):
    assert parts.state(call) == state


def test_what_can_be_played_goes_by_its_variant():
    film = parts.playable(WHOLE, "film")
    assert film == parts.Playable(a_film()["file"], "c1.mp4", "video/mp4", 99, "sha-film")
    sound = parts.playable({**WHOLE, "film": a_film(pictures=0)}, "film")
    assert sound.mime == "audio/mp4"
    segment = parts.playable(WHOLE, f"{ROOM}/doctor-1-1.webm")
    assert (segment.file_id, segment.mime) == (f"recording:c1:{ROOM}:doctor-1-1.webm", "video/webm")
    assert parts.playable(a_call({}), "film") is None
    assert parts.playable(WHOLE, f"{LATER}/doctor-1-1.webm") is None
    assert (parts.is_composed(WHOLE), parts.is_composed(a_call({}))) == (True, False)


def test_a_film_is_made_once_for_the_segments_there_are():
    fresh = parts.film_to_make(a_call({ROOM: a_part(a_segment())}), NOW)
    assert (fresh["next_at"], fresh["file"], fresh["attempts"]) == (NOW, None, 0)
    assert parts.film_to_make(WHOLE, NOW) is None
    assert parts.film_to_make(a_call({}), NOW) is None
    assert parts.film_to_make({**WHOLE, "film": a_film(next_at=NOW, segments=0)}, NOW) is None  # under way


def test_a_segment_that_comes_later_has_the_film_made_anew_and_the_old_one_is_watched_meanwhile():
    late = a_call({ROOM: a_part(a_segment()), LATER: a_part(a_segment("doctor-2-1.webm"))}, film=a_film(attempts=3))
    again = parts.film_to_make(late, NOW)
    assert (again["next_at"], again["attempts"], again["file"]) == (NOW, 0, a_film()["file"])
