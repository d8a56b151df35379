import pytest
from marshmallow import ValidationError

from core.accounts.schemas import AskCode, AskTicket, Elevate, LogIn, LoginView, Rename

SMS = {"audience": "patient", "method": "sms", "phone": "13800001111", "code": "123456"}
PASSWORD = {"audience": "staff", "method": "password", "account": "linjing", "password": " spaces kept "}
WECHAT = {"audience": "patient", "method": "wechat", "login_code": "a", "phone_code": "b"}


@pytest.mark.parametrize("body", [SMS, PASSWORD, WECHAT, WECHAT | {"audience": "staff"}, SMS | {"audience": "staff"}])
def test_each_method_is_taken_with_its_own_fields(body):
    assert LogIn().load(body) == body


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"audience", "method"}),
        (SMS | {"method": "oauth"}, {"method"}),
        (SMS | {"audience": "everyone"}, {"audience"}),
        (SMS | {"phone": "123"}, {"phone"}),
        (SMS | {"code": "12345"}, {"code"}),
        (SMS | {"code": "１２３４５６"}, {"code"}),
        (SMS | {"code": 123456}, {"code"}),
        ({key: SMS[key] for key in ("audience", "method", "phone")}, {"code"}),
        (SMS | {"password": "x"}, {"password"}),
        (PASSWORD | {"audience": "patient"}, {"method"}),
        (PASSWORD | {"password": "x" * 129}, {"password"}),
        (WECHAT | {"phone_code": ""}, {"phone_code"}),
        (WECHAT | {"extra": 1}, {"extra"}),
    ],
)
def test_other_bodies_name_the_fields_at_fault(body, fields):
    with pytest.raises(ValidationError) as refusal:
        LogIn().load(body)
    assert set(refusal.value.messages) == fields


@pytest.mark.parametrize("purpose", ["login", "bind", "sign"])
def test_codes_are_for_three_purposes(purpose):
    AskCode().load({"phone": "13800001111", "purpose": purpose})


def test_codes_are_for_no_other_purpose():
    with pytest.raises(ValidationError):
        AskCode().load({"phone": "13800001111", "purpose": "pay"})


def test_a_ticket_names_no_call_unless_it_is_for_one():
    assert AskTicket().load({"purpose": "web_view"}) == {"purpose": "web_view", "call": None}


def test_a_name_is_trimmed_and_not_empty():
    assert Rename().load({"name": " 王小明 "}) == {"name": "王小明"}
    with pytest.raises(ValidationError):
        Rename().load({"name": "   "})


def test_a_second_step_shows_its_ticket_alone():
    assert LoginView().dump({"mfa": {"ticket": "t"}}) == {"mfa": {"ticket": "t"}}


@pytest.mark.parametrize("body", [{"password": "x"}, {"code": "123456"}])
def test_a_proof_is_a_password_or_a_code(body):
    assert Elevate().load(body) == body


@pytest.mark.parametrize("body", [{}, {"password": "x", "code": "123456"}, {"code": "12345"}, {"pin": "1"}])
def test_a_proof_is_nothing_else(body):
    with pytest.raises(ValidationError):
        Elevate().load(body)
