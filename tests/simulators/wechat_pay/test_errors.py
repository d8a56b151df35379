import pytest

from simulators.wechat_pay.errors import STATUS, Refused, bad_field


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("SIGN_ERROR", 401),
        ("NO_AUTH", 403),
        ("ORDER_NOT_EXIST", 404),
        ("FREQUENCY_LIMITED", 429),
        ("SYSTEM_ERROR", 500),
    ],
)
def test_a_code_travels_with_its_status(code, status):
    assert Refused(code, "…").status == STATUS[code] == status


def test_a_refusal_has_the_vendors_shape():
    assert Refused("ORDERPAID", "该订单已支付").document() == {"code": "ORDERPAID", "message": "该订单已支付"}


def test_a_bad_field_is_named():
    document = bad_field("/amount/total", "应为整数").document()
    assert document["code"] == "PARAM_ERROR"
    assert document["detail"] == {"location": "body", "field": "/amount/total", "issue": "应为整数"}
