import json
import stat
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from simulators.key_files import read_or_make


def test_file_is_made_once_whole_and_for_its_owner_alone(tmp_path):
    file = tmp_path / "keys" / "vendor.json"
    made = read_or_make(file, lambda: {"name": "示例", "number": 1})
    again = read_or_make(file, lambda: {"name": "别的"})
    assert made == again == json.loads(file.read_text(encoding="utf-8")) == {"name": "示例", "number": 1}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["vendor.json"]


def test_all_who_make_it_at_once_read_the_same(tmp_path):
    numbers = count()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: read_or_make(tmp_path / "vendor.json", lambda: {"n": next(numbers)}), range(16)))
    assert made == [made[0]] * 16


def test_what_an_earlier_versions_file_lacks_is_added_and_what_it_holds_stays(tmp_path):
    file = tmp_path / "vendor.json"
    read_or_make(file, lambda: {"secret": "old", "templates": {"a": {"id": "1"}}})
    now = {"secret": "new", "templates": {"a": {"id": "2", "page": "p"}, "b": {"id": "3"}}}
    completed = read_or_make(file, lambda: now)
    assert completed == {"secret": "old", "templates": {"a": {"id": "1", "page": "p"}, "b": {"id": "3"}}}
    assert json.loads(file.read_text(encoding="utf-8")) == completed
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["vendor.json"]
