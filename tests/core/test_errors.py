import pytest
from pymongo.errors import OperationFailure

from core.errors import (
    CODES,
    AppError,
    Conflict,
    Invalid,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    refusal_of,
)
from core.ports import Unavailable


def all_kinds(kind: type[AppError]) -> list[type[AppError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in all_kinds(child))]


@pytest.mark.parametrize("kind", all_kinds(AppError))
def test_every_refusal_has_a_documented_code(kind):
    raised = kind()
    assert (raised.status, raised.title) == (CODES[kind.code].status, CODES[kind.code].title)


def test_a_named_conflict_keeps_its_own_status_and_sentence():
    raised = Conflict(code="wechat_required")
    assert (raised.code, raised.status, raised.detail) == ("wechat_required", 409, "请先使用微信登录后再支付")


def test_an_undocumented_code_cannot_be_raised():
    with pytest.raises(KeyError):
        AppError(code="whatever")


def test_an_invalid_field_is_named():
    assert Invalid.field("phone", "须为手机号").errors == {"phone": ["须为手机号"]}


def test_what_is_away_becomes_503_and_a_bug_becomes_nothing():
    away = refusal_of(Unavailable("gateway"))
    assert isinstance(away, ServiceUnavailable)
    assert (away.status, away.retry_after) == (503, 5)
    assert isinstance(refusal_of(OperationFailure("no space", 14031)), ServiceUnavailable)
    assert refusal_of(OperationFailure("bad value", 2)) is None
    assert refusal_of(ValueError("bug")) is None
    refused = NotFound()
    assert refusal_of(refused) is refused


def test_a_rate_limit_says_when_to_come_back():
    assert RateLimited(retry_after=2.5).retry_after == 2.5
