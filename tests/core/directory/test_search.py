import pytest

from core.directory import search


def entry(**changes):
    return search.searchable(
        **{
            "name": "王小明",
            "positions": ["副主任医师", "心血管内科", "03.04"],
            "skills": ["高血压", "冠心病"],
            "text": "擅长心律失常，曾在王府井工作",
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("typed", "weight"),
    [
        ("王小明", search.NAME_ALL),
        ("王 小 明", 3 * search.NAME),
        ("小明", search.NAME),
        ("wangxiaoming", search.SPELLING),
        ("xiaom", search.SPELLING),
        ("WXM", search.SPELLING),
        ("ｗｘ", search.SPELLING),
        ("血压", search.SKILL),
        ("主任", search.POSITION),
        ("心血管", search.POSITION),
        ("03.04", search.POSITION),
        ("心律失常", search.TEXT),
        ("小明 冠心病", search.NAME + search.SKILL),
        ("angxiao", 0),
        ("小明 皮疹", 0),
        ("李", 0),
    ],
)
def test_what_is_typed_is_found_where_it_weighs_most(typed, weight):
    assert search.score(entry(), search.terms_of(typed)) == weight


def test_all_readings_of_an_ambiguous_character_find_the_doctor():
    spellings = search.spell("单雄")
    assert {"shanxiong", "danxiong", "xiong", "sx", "dx", "x"} <= spellings


def test_name_in_latin_letters_is_found():
    assert search.score(entry(name="Müller"), search.terms_of("MÜL")) == search.NAME


def test_blanks_ask_for_nothing():
    assert search.terms_of("  \u3000 ") == ()
