"""The door of Tencent Cloud API 3.0: signature, age, action and version, before a product's own answer.

Rules from the vendor's "Signature v3" and "Common error codes": POST / with JSON, TC3-HMAC-SHA256 over at least
content-type and host, a timestamp at most 300 s off, HTTP 200 also for refusals.
"""

import hashlib
import hmac
import json
import re
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simulators.faults import VendorHandler
from simulators.key_files import read_or_make

_MAX_AGE_SECONDS = 300
_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<date>\d{4}-\d\d-\d\d)/(?P<service>\w+)/tc3_request, ?"
    r"SignedHeaders=(?P<names>[\w;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


class VendorError(Exception):
    """An `Error` in the vendor's words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


def read_keys(keys_dir: Path) -> dict[str, Any]:
    """`tencent.json`: secret_id, secret_key, sms_app_id, sign_name and templates, name → {id, parameters in order}."""
    return read_or_make(
        keys_dir / "tencent.json",
        lambda: {
            "secret_id": "AKIDdemo000000000000000000000000demo",
            "secret_key": f"demo{secrets.token_hex(14)}",
            "sms_app_id": "1400000000",
            "sign_name": "示例互联网医院",
            "templates": {
                "login_code": {"id": "1000001", "parameters": ["code", "minutes"]},
                "patient_notice": {"id": "1000002", "parameters": []},
                "staff_notice": {"id": "1000003", "parameters": []},
                "call_invitation": {"id": "1000004", "parameters": ["doctor", "link"]},
            },
        },
    )


def signature(secret_key: str, *, date: str, service: str, timestamp: str, canonical: str) -> str:
    """The signature that a canonical request must carry, in hexadecimal."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"TC3{secret_key}".encode()
    for text in (date, service, "tc3_request"):
        key = hmac.new(key, text.encode(), hashlib.sha256).digest()
    to_sign = f"TC3-HMAC-SHA256\n{timestamp}\n{date}/{service}/tc3_request\n{digest}"
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


class TencentHandler(VendorHandler):
    """POST / of one product; subclasses name it and answer `respond`.

    Application settings: `keys` as of `read_keys`, `now` in Unix seconds.
    """

    service = ""
    version = ""
    action = ""

    def respond(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The fields of `Response`; a `VendorError` becomes its `Error`."""
        raise NotImplementedError

    def post(self) -> None:
        """Check the door, answer within."""
        try:
            self._require_signed()
            self._require_known()
            if self.fault is not None and self.fault["fault"] == "error":
                raise VendorError(str(self.fault["code"]), "switched on by the fault switch")
            answer = self.respond(self._parameters())
        except VendorError as error:
            answer = {"Error": {"Code": error.code, "Message": error.message}}
        self.finish({"Response": {**answer, "RequestId": str(uuid.uuid4())}})

    def now(self) -> float:
        """Unix seconds."""
        clock: Callable[[], float] = self.settings["now"]
        return clock()

    def header(self, name: str) -> str:
        """A request header, empty when absent."""
        return self.request.headers.get(name, "")

    def _require_signed(self) -> None:
        parts = _AUTHORIZATION.fullmatch(self.header("Authorization"))
        if parts is None:
            raise VendorError("AuthFailure.InvalidAuthorization", "The Authorization header is not of the TC3 form.")
        keys = self.settings["keys"]
        if parts["id"] != keys["secret_id"]:
            raise VendorError("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
        timestamp = self.header("X-TC-Timestamp")
        if not re.fullmatch(r"\d{1,12}", timestamp, re.ASCII):
            raise VendorError("InvalidParameter", "X-TC-Timestamp is not a number of seconds.")
        if abs(self.now() - int(timestamp)) > _MAX_AGE_SECONDS:
            raise VendorError("AuthFailure.SignatureExpire", "Timestamp and server time differ by over five minutes.")
        date = datetime.fromtimestamp(int(timestamp), UTC).strftime("%Y-%m-%d")
        names = parts["names"].split(";")
        expected = signature(
            keys["secret_key"],
            date=date,
            service=self.service,
            timestamp=timestamp,
            canonical=self._canonical(names),
        )
        whole = {"content-type", "host"} <= set(names) and (parts["date"], parts["service"]) == (date, self.service)
        if not whole or not hmac.compare_digest(expected, parts["signature"]):
            raise VendorError("AuthFailure.SignatureFailure", "The provided credentials could not be validated.")

    def _canonical(self, names: list[str]) -> str:
        headers = "".join(f"{name}:{self.header(name).strip().lower()}\n" for name in names)
        body = hashlib.sha256(self.request.body).hexdigest()
        return f"POST\n/\n{self.request.query}\n{headers}\n{';'.join(names)}\n{body}"

    def _require_known(self) -> None:
        if self.header("X-TC-Version") != self.version:
            raise VendorError("NoSuchVersion", "The API version does not exist.")
        if self.header("X-TC-Action") != self.action:
            raise VendorError("InvalidAction", "The action does not exist.")

    def _parameters(self) -> dict[str, Any]:
        try:
            parameters = json.loads(self.request.body)
        except ValueError:
            parameters = None
        if not isinstance(parameters, dict):
            raise VendorError("InvalidParameter", "The body is not a JSON object.")
        return parameters


def require_text(parameters: dict[str, Any], name: str) -> str:
    """A string parameter; absent or empty is `MissingParameter`, another type `InvalidParameter`."""
    value = parameters.get(name)
    if value in (None, ""):
        raise VendorError("MissingParameter", f"The parameter {name} is missing.")
    if not isinstance(value, str):
        raise VendorError("InvalidParameter", f"The parameter {name} is not a string.")
    return value
