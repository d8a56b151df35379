"""The demonstration hospital is believable, obeys the code tables and the legal rules, and is visibly invented."""

import re
from collections import Counter
from datetime import date
from itertools import chain
from typing import Any, get_args

import pytest

from core.data import TableName, table
from scripts.demo import DEMO_PASSWORDS, DataName, read

EXPIRED_LICENCE = "shaolinchuan"
TOO_NEW = "mengxiaoman"
REFERENCE_DAY = date(2026, 11, 22)
STAFF: tuple[DataName, ...] = ("doctors", "pharmacists", "nurses", "officers")
LICENSED: tuple[DataName, ...] = ("doctors", "pharmacists", "nurses")
FEE_CEILING = {"231": 20_000, "232": 6_000, "233": 3_000, "234": 2_000}


def codes(name: TableName) -> set[str]:
    return {record["code"] for record in table(name)}


def accounts() -> list[dict[str, Any]]:
    return list(chain.from_iterable(read(name) for name in (*STAFF, "patients")))


def doctor(account: str) -> dict[str, Any]:
    (found,) = [record for record in read("doctors") if record["account"] == account]
    return found


def resident_check(number: str) -> str:
    """Check character of a resident number (GB 11643-1999)."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[sum(int(digit) * weight for digit, weight in zip(number[:17], weights, strict=True)) % 11]


def credit_check(code: str) -> str:
    """Check character of a unified social credit code (GB 32100-2015)."""
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    total = sum(alphabet.index(character) * pow(3, place, 31) for place, character in enumerate(code[:17]))
    return alphabet[-total % 31]


def organization_check(code: str) -> str:
    """Check character of an organisation code (GB 11714-1997)."""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(alphabet.index(character) * weight for character, weight in zip(code[:8], weights, strict=True))
    return "0123456789X"[-total % 11]


def whole_years(start: str, today: date) -> int:
    first = date.fromisoformat(start)
    return today.year - first.year - ((today.month, today.day) < (first.month, first.day))


def ids_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [record, record["guardian"]] if record["guardian"] else [record]


def test_the_checks_of_this_page_agree_with_numbers_known_to_be_right() -> None:
    assert resident_check("11010519491231002") == "X"
    assert resident_check("44052418800101001") == "4"
    assert credit_check("91350100M000100Y4") == "3"
    assert organization_check("D2143569") == "X"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("hospital", 1),
        ("departments", 12),
        ("doctors", 30),
        ("pharmacists", 3),
        ("nurses", 2),
        ("officers", 4),
        ("patients", 2),
        ("consult_types", 8),
        ("consent_texts", 6),
    ],
)
def test_there_are_as_many_as_the_hospital_was_promised(name: DataName, count: int) -> None:
    records = read(name)
    assert len(records) == count
    assert all(record.keys() == records[0].keys() for record in records)


def test_what_is_read_belongs_to_the_reader() -> None:
    read("departments")[0]["name"] = "changed"
    assert read("departments")[0]["name"] == "心血管内科"


def test_the_credit_code_and_the_organisation_code_in_it_check() -> None:
    (hospital,) = read("hospital")
    assert hospital["credit_code"] == "12990000MB999999XB"
    assert credit_check(hospital["credit_code"]) == hospital["credit_code"][17]
    assert hospital["credit_code"][8:17] == hospital["organization_code"]
    assert organization_check(hospital["organization_code"]) == hospital["organization_code"][8]


def test_the_hospital_is_licensed_long_and_visibly_invented() -> None:
    (hospital,) = read("hospital")
    assert hospital["name"] == "云桥市第一人民医院互联网医院"
    assert date.fromisoformat(hospital["licence_valid_to"]) == date(2031, 6, 30)
    assert hospital["complaint_phone"].startswith("0000-")
    assert hospital["credit_code"][2:8] not in codes("divisions")
    assert "虚构" in hospital["address"]
    assert "云桥市" not in {record["name"] for record in table("divisions")}


def test_departments_are_in_order_and_each_is_a_subject_the_hospital_is_registered_for() -> None:
    departments = read("departments")
    (hospital,) = read("hospital")
    assert [record["order"] for record in departments] == list(range(1, 13))
    assert len({record["code"] for record in departments}) == 12
    assert [record["subject_code"] for record in departments] == hospital["registered_subjects"]
    assert {record["subject_code"] for record in departments} <= codes("subjects")


def test_no_account_and_no_staff_phone_is_used_twice() -> None:
    names = [record["account"] for record in accounts()]
    phones = [record["phone"] for record in accounts()]
    assert len(names) == len(set(names)) == 41
    assert len(phones) == len(set(phones)) == 41
    for record in accounts():
        assert re.fullmatch(r"[a-z][a-z0-9_]{3,31}", record["account"])
        assert re.fullmatch(r"1990000\d{4}|199000[1-9]\d{4}", record["phone"])
        assert re.fullmatch(r"[\u4e00-\u9fff]{2,4}", record["name"])
    staff_names = [record["name"] for name in STAFF for record in read(name)]
    assert len(staff_names) == len(set(staff_names))


def test_titles_and_genders_are_from_the_tables_and_fit_the_profession() -> None:
    profession_of = {record["code"]: record["profession"] for record in table("titles")}
    for name in LICENSED:
        assert {profession_of[record["title_code"]] for record in read(name)} == {name.removesuffix("s")}
    assert {record["title_code"] for record in read("doctors")} == {"231", "232", "233", "234"}
    assert {record["gender"] for name in STAFF for record in read(name)} <= codes("genders")


def test_every_department_offers_a_chief_and_an_associate_chief() -> None:
    offered = [d for d in read("doctors") if d["account"] not in (EXPIRED_LICENCE, TOO_NEW)]
    titles = Counter((d["department"], d["title_code"]) for d in offered)
    for department in read("departments"):
        assert titles[department["code"], "231"] >= 1
        assert titles[department["code"], "232"] >= 1
    assert Counter(d["department"] for d in offered)["paediatrics"] == 3


@pytest.mark.rule("R1-6")
def test_a_doctor_works_within_the_registered_scope() -> None:
    subject_of = {record["code"]: record["subject_code"] for record in read("departments")}
    for record in read("doctors"):
        assert subject_of[record["department"]] in record["practice_scope"]
        assert set(record["practice_scope"]) <= codes("subjects")
    assert {record["department"] for record in read("nurses")} <= set(subject_of)


@pytest.mark.rule("R2-2")
def test_all_doctors_but_one_have_three_years_of_practice_and_all_the_consent_of_their_institution() -> None:
    years = {d["account"]: whole_years(d["practice_start"], REFERENCE_DAY) for d in read("doctors")}
    assert [account for account, count in years.items() if count < 3] == [TOO_NEW]
    others = [count for account, count in years.items() if account != TOO_NEW]
    assert (min(others), max(others)) == (7, 35)
    assert all(whole_years(p["practice_start"], REFERENCE_DAY) >= 3 for p in read("pharmacists"))
    documents = [d["consent_document"] for d in read("doctors")]
    assert len(set(documents)) == 30


@pytest.mark.rule("R2-2")
def test_a_doctor_of_another_institution_is_filed_for_several_sites() -> None:
    (hospital,) = read("hospital")
    guests = [d for d in read("doctors") if d["main_institution"] != hospital["main_institution"]]
    assert [d["main_institution"] for d in guests] == ["云桥市妇幼保健院", "云桥市中医院"]
    for record in read("doctors"):
        assert record["multi_site_filed"] is (record in guests)


@pytest.mark.rule("R2-8")
def test_all_licences_but_one_run_past_2030() -> None:
    holders = [record for name in LICENSED for record in read(name)]
    ends = {record["account"]: date.fromisoformat(record["licence_valid_to"]) for record in holders}
    assert [account for account, end in ends.items() if end < date(2031, 1, 1)] == [EXPIRED_LICENCE]
    assert doctor(EXPIRED_LICENCE)["licence_valid_to"] == "2026-03-31"


def test_licence_numbers_are_unique_and_visibly_invented() -> None:
    holders = [record for name in LICENSED for record in read(name)]
    numbers = [record["licence_number"] for record in holders]
    assert len(numbers) == len(set(numbers)) == 35
    assert all(re.fullmatch(r"999\d{12}", number) for number in numbers)
    qualifications = [record["qualification_number"] for record in holders if "qualification_number" in record]
    assert len(qualifications) == len(set(qualifications)) == 33
    assert all(re.fullmatch(r"\d{4}99\d{21}", number) for number in qualifications)


def test_fees_are_whole_fen_within_the_bounds_of_the_title() -> None:
    for record in read("doctors"):
        assert set(record["fees"]) == set(record["services"]) == {"consult", "followup"}
        for fee in record["fees"].values():
            assert type(fee) is int
            assert 0 <= fee <= FEE_CEILING[record["title_code"]]
        assert any(record["services"].values())
    assert [d["account"] for d in read("doctors") if d["fees"]["consult"] == 0] == ["yuanran"]
    assert max(d["fees"]["consult"] for d in read("doctors")) == 20_000


def test_some_doctors_offer_only_one_of_the_two_services() -> None:
    offers = Counter((d["services"]["consult"], d["services"]["followup"]) for d in read("doctors"))
    assert offers == {(True, True): 27, (True, False): 2, (False, True): 1}


def test_a_doctor_introduces_himself_in_two_or_three_sentences_with_three_to_six_skills() -> None:
    for record in read("doctors"):
        assert 3 <= len(record["skills"]) <= 6
        assert len(set(record["skills"])) == len(record["skills"])
        assert 2 <= record["introduction"].count("。") <= 3


def test_officers_are_the_three_administrators_and_the_regulator() -> None:
    assert [o["role"] for o in read("officers")] == ["admin", "security_admin", "auditor", "regulator"]
    assert {p["role"] for p in read("pharmacists")} == {"pharmacist"}
    assert {n["role"] for n in read("nurses")} == {"nurse"}


def test_each_role_has_one_password_that_shows_what_it_is() -> None:
    assert set(DEMO_PASSWORDS) == {
        "patient",
        "doctor",
        "pharmacist",
        "nurse",
        "admin",
        "security_admin",
        "auditor",
        "regulator",
    }
    assert len(set(DEMO_PASSWORDS.values())) == 8
    assert all(password.startswith("Demo-2026-") for password in DEMO_PASSWORDS.values())


def test_resident_numbers_check_and_agree_with_birth_and_gender() -> None:
    people = [person for record in read("patients") for person in record["patients"]]
    for person in people:
        assert person["id_type"] in codes("id_types")
        assert person["id_number"][6:14] == person["birth_date"].replace("-", "")
        assert int(person["id_number"][16]) % 2 == int(person["gender"]) % 2
    numbers = [person["id_number"] for person in people]
    assert len(numbers) == len(set(numbers)) == 4
    for holder in chain.from_iterable(ids_of(person) for person in people):
        assert re.fullmatch(r"110000\d{8}00[12][\dX]", holder["id_number"])
        assert resident_check(holder["id_number"]) == holder["id_number"][17]


@pytest.mark.rule("R3-3")
def test_only_the_child_has_a_guardian_and_it_is_the_parent_who_owns_the_account() -> None:
    people = [person for record in read("patients") for person in record["patients"]]
    children = [person for person in people if whole_years(person["birth_date"], REFERENCE_DAY) < 14]
    assert [child["name"] for child in children] == ["李知夏"]
    assert [person["name"] for person in people if person["guardian"]] == ["李知夏"]
    (parent,) = [person for person in people if person["name"] == "李明远"]
    guardian = children[0]["guardian"]
    assert {key: guardian[key] for key in ("name", "id_number", "phone")} == {
        key: parent[key] for key in ("name", "id_number", "phone")
    }


def test_the_first_patient_of_an_account_is_its_owner() -> None:
    for record in read("patients"):
        first = record["patients"][0]
        assert (first["name"], first["phone"], first["relation"]) == (record["name"], record["phone"], "self")


def test_consultation_types_are_in_order_and_all_offered() -> None:
    types = read("consult_types")
    assert [record["order"] for record in types] == list(range(1, 9))
    assert len({record["code"] for record in types}) == len({record["name"] for record in types}) == 8
    assert {"用药咨询", "报告解读", "慢病管理", "健康指导", "术后随访", "其他"} <= {record["name"] for record in types}
    assert all(record["enabled"] is True for record in types)


def test_the_six_consent_texts_are_whole_documents() -> None:
    texts = {record["kind"]: record for record in read("consent_texts")}
    assert list(texts) == [
        "consult_notice",
        "sensitive_data",
        "children",
        "service_terms",
        "privacy_policy",
        "call_recording",
    ]
    for record in texts.values():
        assert record["version"] == "2026-1"
        assert date.fromisoformat(record["effective_from"]) == date(2026, 1, 1)
        assert len(record["body"]) > 1_000
        assert record["body"].count("\n## ") >= 5
        assert record["body"] == record["body"].strip()


@pytest.mark.parametrize(
    ("kind", "phrases"),
    [
        pytest.param("consult_notice", ["不构成诊断", "不开具处方", "120"], marks=pytest.mark.rule("R3-1")),
        pytest.param("sensitive_data", ["单独同意", "撤回同意", "第三方"], marks=pytest.mark.rule("R3-4")),
        pytest.param("children", ["不满十四周岁", "监护人", "不满六周岁"], marks=pytest.mark.rule("R3-3")),
        pytest.param(
            "call_recording", ["全程录音、录像", "正在录制", "不少于**三年**"], marks=pytest.mark.rule("R3-5")
        ),
    ],
)
def test_a_consent_text_says_what_the_law_asks_to_be_said(kind: str, phrases: list[str]) -> None:
    (body,) = [record["body"] for record in read("consent_texts") if record["kind"] == kind]
    assert [phrase for phrase in phrases if phrase not in body] == []


@pytest.mark.parametrize("name", get_args(DataName))
def test_texts_use_chinese_punctuation(name: DataName) -> None:
    assert re.findall(r"[\u4e00-\u9fff][,;:()!?]", repr(read(name))) == []
