"""The manifest as a file."""

from datetime import UTC, datetime

import pytest

from rtc import manifests
from rtc.manifests import Draft, Unfinished
from rtc.media import Manifest, Moment, Segment

NOW = datetime(2026, 3, 1, 9, 30, 0, 250_000, tzinfo=UTC)
SEGMENT = Segment("doctor", 1, "doctor-1-1.webm", 5000, NOW, 0.25, 12.5, "ab" * 32, "cd" * 32)
DRAFT = Draft(
    Manifest("call", NOW, (SEGMENT,), (Moment(0.25, "doctor", "joined", 1), Moment(9.0, "doctor", "gap", 1, 2.5))),
    (Unfinished("patient", 2, "patient-2-1.mkv", NOW, 4.0),),
)


def test_what_was_saved_is_loaded(tmp_path):
    manifests.save(tmp_path, DRAFT)
    assert manifests.load(tmp_path) == DRAFT
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_crash_while_it_is_written_leaves_the_old_one(tmp_path):
    manifests.save(tmp_path, DRAFT)
    (tmp_path / "manifest.json.new").write_text("{")
    assert manifests.load(tmp_path) == DRAFT


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"call": 1, "began_at": 5, "segments": [], "timeline": []}'])
def test_what_is_no_manifest_is_a_value_error(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"no manifest|Expecting"):
        manifests.load(tmp_path)


def test_a_folder_without_one_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        manifests.load(tmp_path)
