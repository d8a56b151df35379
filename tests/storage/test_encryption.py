import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.encryption import FieldCipher, Unreadable

OLD, NEW, INDEX = b"o" * 32, b"n" * 32, b"i" * 32


@pytest.fixture
def cipher():
    return FieldCipher({"2025": OLD, "2026": NEW}, "2026", INDEX)


@given(st.text())
def test_any_text_opens_as_it_was_sealed(text):
    cipher = FieldCipher({"k": OLD}, "k", INDEX)
    assert cipher.open(cipher.seal(text, field="name"), field="name") == text


def test_seal_names_its_form_and_key_and_shows_nothing(cipher):
    sealed = cipher.seal("张三", field="name")
    assert sealed.startswith("v1.2026.")
    assert "张三" not in sealed
    assert sealed != cipher.seal("张三", field="name")


def test_seal_of_one_field_does_not_open_as_another(cipher):
    with pytest.raises(Unreadable):
        cipher.open(cipher.seal("13800000000", field="phone"), field="name")


def test_every_changed_character_is_noticed(cipher):
    sealed = cipher.seal("13800000000", field="phone")
    for place, character in enumerate(sealed):
        changed = sealed[:place] + ("A" if character != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(Unreadable):
            cipher.open(changed, field="phone")


@pytest.mark.parametrize(
    "broken", ["", "v1", "v1.2026", "v1.2026.", "v1.2026.AAAA", "v2.2026.AAAA", "v1.2026.!", "13800"]
)
def test_what_is_not_a_seal_is_unreadable(cipher, broken):
    with pytest.raises(Unreadable):
        cipher.open(broken, field="phone")


def test_refusal_does_not_repeat_the_text(cipher):
    with pytest.raises(Unreadable) as refusal:
        cipher.open("v1.2026.MTM4MDAwMDAwMDA=", field="phone")
    assert str(refusal.value) == "field 'phone' does not open: changed, or sealed for another field"


def test_rotation_reads_old_texts_and_writes_new_ones(cipher):
    before = FieldCipher({"2025": OLD}, "2025", INDEX)
    sealed = before.seal("110105", field="id_number")
    assert (before.stale(sealed), cipher.stale(sealed)) == (False, True)
    renewed = cipher.seal(cipher.open(sealed, field="id_number"), field="id_number")
    assert not cipher.stale(renewed)
    after = FieldCipher({"2026": NEW}, "2026", INDEX)
    assert after.open(renewed, field="id_number") == "110105"
    with pytest.raises(Unreadable, match="unknown key"):
        after.open(sealed, field="id_number")


def test_blind_index_survives_rotation_of_the_keys(cipher):
    assert cipher.blind("138", field="phone") == FieldCipher({"k": OLD}, "k", INDEX).blind("138", field="phone")


def test_blind_index_sees_past_case_width_and_blanks_but_not_past_fields(cipher):
    plain = cipher.blind("11010519491231002X", field="id_number")
    assert cipher.blind(" 11010519491231002x ", field="id_number") == plain
    assert cipher.blind("１１０１０５１９４９１２３１００２Ｘ", field="id_number") == plain
    assert cipher.blind("11010519491231002X", field="phone") != plain
    assert FieldCipher({"k": OLD}, "k", OLD).blind("11010519491231002X", field="id_number") != plain


@pytest.mark.parametrize(
    ("keys", "current", "index_key"),
    [
        ({"a": OLD}, "b", INDEX),
        ({"a": b"short"}, "a", INDEX),
        ({"a": OLD}, "a", b"short"),
        ({"a.b": OLD}, "a.b", INDEX),
    ],
)
def test_unfit_keys_stop_the_start(keys, current, index_key):
    with pytest.raises(ValueError):
        FieldCipher(keys, current, index_key)
