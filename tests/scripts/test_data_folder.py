import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import DEMO_MARK
from scripts.bootstrap import CannotStart
from scripts.data_folder import FIELD_KEY, MARKER, TOKEN_KEY, DataFolder, new_secrets


def test_a_new_folder_is_ours_alone(tmp_path):
    folder = DataFolder.open(tmp_path / "a" / "var")
    assert folder.path == tmp_path / "a" / "var"
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()


def test_an_empty_folder_is_taken_over(tmp_path):
    DataFolder.open(tmp_path).close()
    assert json.loads((tmp_path / MARKER).read_text()) == {"made_by": "scripts/server", "form": 1}


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path, fresh):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CannotStart, match="holds things that are not a hospital's: name another folder"):
        DataFolder.open(tmp_path, fresh=fresh)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_fresh_empties_what_is_ours(tmp_path):
    DataFolder.open(tmp_path).close()
    (tmp_path / "mongo" / "data").mkdir(parents=True)
    (tmp_path / "mongo" / "data" / "table.wt").write_text("rows")
    (tmp_path / "link").symlink_to(tmp_path / "mongo")
    DataFolder.open(tmp_path, fresh=True).close()
    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", MARKER]


def test_a_folder_of_another_form_is_not_touched(tmp_path):
    (tmp_path / MARKER).write_text(json.dumps({"made_by": "scripts/server", "form": 9}))
    with pytest.raises(CannotStart, match=r"was made by another version \(9\)"):
        DataFolder.open(tmp_path, fresh=True)


def test_a_path_that_is_a_file_is_one_clear_line(tmp_path):
    (tmp_path / "var").write_text("")
    with pytest.raises(CannotStart, match=r"the data folder .*/var cannot be used: File exists"):
        DataFolder.open(tmp_path / "var")


def test_a_second_server_is_told_who_has_it_and_fresh_empties_nothing_under_the_first(tmp_path):
    first = DataFolder.open(tmp_path)
    first.note("running.json", {"url": "http://127.0.0.1:1"})
    with pytest.raises(CannotStart, match=rf"another server \(process {os.getpid()}\) is using"):
        DataFolder.open(tmp_path, fresh=True)
    assert first.noted("running.json") == {"url": "http://127.0.0.1:1"}
    first.close()
    DataFolder.open(tmp_path).close()


def test_the_lock_ends_with_the_process_that_held_it(tmp_path):
    program = "import sys, pathlib, scripts.data_folder as d; d.DataFolder.open(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True, cwd=Path(__file__).parents[2])
    DataFolder.open(tmp_path).close()


def test_secrets_are_made_once_and_are_nobody_elses_to_read(tmp_path):
    folder = DataFolder.open(tmp_path)
    made = folder.secrets()
    assert folder.secrets() == made
    assert made.keys() == new_secrets().keys()
    assert (folder.keys / "settings.json").stat().st_mode & 0o777 == 0o600
    assert folder.keys.stat().st_mode & 0o777 == 0o700
    folder.close()


def test_the_keys_carry_the_mark_by_which_production_refuses_them():
    assert TOKEN_KEY.startswith(DEMO_MARK)
    assert FIELD_KEY.startswith(DEMO_MARK)


def test_data_without_their_keys_are_not_given_new_ones(tmp_path):
    folder = DataFolder.open(tmp_path)
    (tmp_path / "mongo" / "data").mkdir(parents=True)
    with pytest.raises(CannotStart, match=r"keys/settings.json is gone and the data cannot be read without it"):
        folder.secrets()
    assert not folder.keys.exists()
    folder.close()


@pytest.mark.parametrize("content", ["{", "[]", '{"TOKEN_KEY": "demo-token-1"}'])
def test_damaged_keys_are_one_clear_line(tmp_path, content):
    folder = DataFolder.open(tmp_path)
    folder.secrets()
    (folder.keys / "settings.json").write_text(content)
    with pytest.raises(CannotStart, match=r"keys/settings.json (cannot be read|is damaged)"):
        folder.secrets()
    folder.close()


def test_a_note_is_read_back_and_a_damaged_one_was_never_made(tmp_path):
    folder = DataFolder.open(tmp_path)
    folder.note("demo.json", {"content": "abc"})
    assert folder.noted("demo.json") == {"content": "abc"}
    (tmp_path / "demo.json").write_text("{")
    assert (folder.noted("demo.json"), folder.noted("other.json")) == (None, None)
    folder.close()
