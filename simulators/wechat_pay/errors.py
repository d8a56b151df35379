"""The refusals of WeChat Pay APIv3 and the HTTP status each travels with."""

from typing import Any

STATUS = {
    "PARAM_ERROR": 400,
    "INVALID_REQUEST": 400,
    "APPID_MCHID_NOT_MATCH": 400,
    "MCH_NOT_EXISTS": 400,
    "ORDER_CLOSED": 400,
    "ORDERPAID": 400,
    "NO_STATEMENT_EXIST": 400,
    "STATEMENT_CREATING": 400,
    "SIGN_ERROR": 401,
    "NO_AUTH": 403,
    "NOT_ENOUGH": 403,
    "OUT_TRADE_NO_USED": 403,
    "RULE_LIMIT": 403,
    "TRADE_ERROR": 403,
    "ORDER_NOT_EXIST": 404,
    "RESOURCE_NOT_EXISTS": 404,
    "FREQUENCY_LIMITED": 429,
    "SYSTEM_ERROR": 500,
    "BANK_ERROR": 500,
    "OPENID_MISMATCH": 500,
}


class Refused(Exception):
    """The gateway's no, in its own shape: `{"code", "message", "detail"?}`."""

    def __init__(self, code: str, message: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.detail = detail
        self.status = STATUS[code]

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        plain = {"code": self.code, "message": self.message}
        return {**plain, "detail": self.detail} if self.detail else plain


def bad_field(pointer: str, issue: str) -> Refused:
    """`PARAM_ERROR` for one field of the body, named by its JSON pointer."""
    return Refused("PARAM_ERROR", f"参数错误：{issue}", {"location": "body", "field": pointer, "issue": issue})
