"""The official tables are whole: codes of the right form, parents there, nothing a caller could change."""

import re
from typing import get_args

import pytest

from core.data import TableName, table


def codes(name: TableName) -> set[str]:
    return {record["code"] for record in table(name)}


@pytest.mark.parametrize(
    ("name", "fields", "count"),
    [
        ("subjects", {"code", "name", "parent"}, 115),
        ("divisions", {"code", "name", "parent"}, 3218),
        ("titles", {"code", "name", "profession", "level"}, 20),
        ("id_types", {"code", "name"}, 8),
        ("genders", {"code", "name"}, 4),
        ("emoji", {"code", "name", "char"}, 42),
    ],
)
def test_every_record_has_exactly_its_fields_and_a_code_of_its_own(
    name: TableName, fields: set[str], count: int
) -> None:
    records = table(name)
    assert len(records) == count
    assert len(codes(name)) == count
    for record in records:
        assert set(record) == fields
        assert record["name"].strip() == record["name"] != ""


def test_the_tables_named_above_are_all_there_are() -> None:
    assert set(get_args(TableName)) == {"subjects", "divisions", "titles", "id_types", "genders", "emoji"}


def test_a_table_is_read_once_and_cannot_be_changed() -> None:
    assert table("genders") is table("genders")
    with pytest.raises(TypeError):
        table("genders")[0]["name"] = "x"  # type: ignore[index]  # the refusal at run time is what is shown
    assert table("genders")[0] == {"code": "0", "name": "未知的性别"}


def test_second_level_subjects_stand_under_their_first_level() -> None:
    known = codes("subjects")
    for record in table("subjects"):
        if record["parent"]:
            assert re.fullmatch(r"\d\d\.\d\d", record["code"])
            assert record["code"].split(".")[0] == record["parent"]
            assert record["parent"] in known
        else:
            assert re.fullmatch(r"\d\d", record["code"])


@pytest.mark.parametrize(
    ("code", "name"),
    [("03.04", "心血管内科专业"), ("03.10", "老年病专业"), ("04.03", "骨科专业"), ("07", "儿科"), ("50", "中医科")],
)
def test_a_subject_is_named_as_in_the_official_list(code: str, name: str) -> None:
    assert [record["name"] for record in table("subjects") if record["code"] == code] == [name]


def test_there_are_34_provinces_and_333_prefectures_beside_the_nine_the_standard_makes_up() -> None:
    provinces = [record for record in table("divisions") if record["parent"] == ""]
    assert len(provinces) == 34
    assert all(record["code"].endswith("0000") for record in provinces)
    prefectures = [record for record in table("divisions") if re.fullmatch(r"\d{4}00", record["code"])]
    made_up = {"市辖区", "县", "省直辖县级行政区划", "自治区直辖县级行政区划"}
    real = [record for record in prefectures if record["parent"] and record["name"] not in made_up]
    assert len(real) == 333
    assert len([record for record in prefectures if record["name"] in made_up]) == 9


def test_a_division_begins_with_the_digits_of_its_parent() -> None:
    known = codes("divisions")
    for record in table("divisions"):
        code, parent = record["code"], record["parent"]
        assert re.fullmatch(r"[1-8]\d{5}", code)
        if parent == "":
            continue
        assert parent in known
        expected = code[:2] + "0000" if code.endswith("00") else code[:4] + "00"
        assert parent == expected


def test_divisions_are_in_order_and_siblings_differ_in_name() -> None:
    records = table("divisions")
    assert [record["code"] for record in records] == sorted(codes("divisions"))
    places = [(record["parent"], record["name"]) for record in records]
    assert len(set(places)) == len(places)


def test_statistical_development_zones_are_not_divisions() -> None:
    assert [record["name"] for record in table("divisions") if 71 <= int(record["code"][4:]) <= 79] == []


@pytest.mark.parametrize(
    ("code", "name", "parent"),
    [
        ("110105", "朝阳区", "110100"),
        ("310115", "浦东新区", "310100"),
        ("330106", "西湖区", "330100"),
        ("330113", "临平区", "330100"),
        ("440305", "南山区", "440300"),
        ("441900", "东莞市", "440000"),
        ("500229", "城口县", "500200"),
        ("510104", "锦江区", "510100"),
        ("710000", "台湾省", ""),
    ],
)
def test_a_well_known_division_is_where_it_belongs(code: str, name: str, parent: str) -> None:
    assert {"code": code, "name": name, "parent": parent} in table("divisions")


@pytest.mark.parametrize(
    ("code", "name", "profession", "level"),
    [
        ("231", "主任医师", "doctor", "正高"),
        ("234", "医师", "doctor", "师级"),
        ("243", "主管药师", "pharmacist", "中级"),
        ("252", "副主任护师", "nurse", "副高"),
    ],
)
def test_a_title_tells_profession_and_level(code: str, name: str, profession: str, level: str) -> None:
    assert {"code": code, "name": name, "profession": profession, "level": level} in table("titles")


def test_identity_documents_are_those_of_the_health_standard() -> None:
    assert codes("id_types") == {"01", "02", "03", "04", "05", "06", "07", "99"}
    assert codes("genders") == {"0", "1", "2", "9"}


def test_each_emoji_code_is_plain_and_each_picture_its_own() -> None:
    pictures = [record["char"] for record in table("emoji")]
    assert len(set(pictures)) == len(pictures)
    for record in table("emoji"):
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", record["code"])
        assert not record["char"].isascii()
