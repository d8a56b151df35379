"""`SendSms` (version 2021-01-11) and what a test or the demo wants to know of it.

- `GET /_control/sms?phone=13800000000`: the last message to the number, `{template, template_id, parameters, code,
  reference, sent_at, count}`; `count` is how many it got within a day. 404 when none. With `&template=login_code` (or
  `patient_notice`, `staff_notice`) only messages of that template count.
- `POST /_control/limits {"enabled": true}`: the vendor's default limits per number, 1 in 30 s, 5 an hour, 10 a day.
- `/_control/faults` (see `simulators.faults`): with their `code`, `error` answers `Response.Error`, `reject` a status.

Messages are kept for a day.
"""

import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tornado.web import Application, HTTPError

from simulators.control import ControlHandler
from simulators.faults import Faults, FaultsHandler
from simulators.store import Store
from simulators.tencent_cloud import TencentHandler, VendorError, read_keys, require_text

_DAY = 86400
_MAINLAND_NUMBER = re.compile(r"(?:\+86|0086|86)?(1[3-9]\d{9})", re.ASCII)

# (seconds, messages, code), the vendor's defaults
_LIMITS = (
    (30, 1, "LimitExceeded.PhoneNumberThirtySecondLimit"),
    (3600, 5, "LimitExceeded.PhoneNumberOneHourLimit"),
    (_DAY, 10, "LimitExceeded.PhoneNumberDailyLimit"),
)


class SendSmsHandler(TencentHandler):
    """The action itself."""

    service = "sms"
    version = "2021-01-11"
    action = "SendSms"

    def respond(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """One status for each number, in their order."""
        if not self.header("X-TC-Region"):
            raise VendorError("MissingParameter", "The parameter Region is missing.")
        numbers = parameters.get("PhoneNumberSet")
        if not isinstance(numbers, list) or not 0 < len(numbers) <= 200:
            raise VendorError("InvalidParameter", "PhoneNumberSet holds 1 to 200 numbers.")
        if require_text(parameters, "SmsSdkAppId") != self.settings["keys"]["sms_app_id"]:
            raise VendorError("UnauthorizedOperation.SmsSdkAppIdVerifyFail", "SmsSdkAppId is not of this account.")
        context = parameters.get("SessionContext", "")
        if not isinstance(context, str) or len(context.encode()) >= 512:
            raise VendorError("InvalidParameterValue.SessionContextLimit", "SessionContext is under 512 bytes.")
        return {"SendStatusSet": [self._send(str(number), parameters, context) for number in numbers]}

    def _send(self, number: str, parameters: dict[str, Any], context: str) -> dict[str, Any]:
        code = self._refusal(number, parameters) or "Ok"
        if code == "Ok":
            self._keep(number, parameters, context)
        return {
            "SerialNo": f"2433:{secrets.randbelow(10**18):018d}" if code == "Ok" else "",
            "PhoneNumber": number,
            "Fee": 1 if code == "Ok" else 0,
            "SessionContext": context,
            "Code": code,
            "Message": "send success" if code == "Ok" else "refused by the simulator",
            "IsoCode": "CN",
        }

    def _refusal(self, number: str, parameters: dict[str, Any]) -> str | None:
        phone = _MAINLAND_NUMBER.fullmatch(number)
        if phone is None:
            return "InvalidParameterValue.IncorrectPhoneNumber"
        if parameters.get("SignName") != self.settings["keys"]["sign_name"]:
            return "FailedOperation.SignatureIncorrectOrUnapproved"
        values = parameters.get("TemplateParamSet", [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            return "InvalidParameterValue.TemplateParameterFormatError"
        filed = self._filed(parameters)
        if filed is None or len(filed[1]) != len(values):
            return "FailedOperation.TemplateIncorrectOrUnapproved"
        if self.fault is not None and self.fault["fault"] == "reject":
            return str(self.fault["code"])
        return self._limit(phone[1])

    def _filed(self, parameters: dict[str, Any]) -> tuple[str, list[str]] | None:
        """Name and places of the template asked for."""
        for name, form in self.settings["keys"]["templates"].items():
            if form["id"] == parameters.get("TemplateId"):
                return name, form["parameters"]
        return None

    def _limit(self, phone: str) -> str | None:
        store: Store = self.settings["store"]
        if store.latest("limits", "") != {"enabled": True}:
            return None
        now = self.now()
        for seconds, allowed, code in _LIMITS:
            if store.count("message", phone, since=now - seconds) >= allowed:
                return code
        return None

    def _keep(self, number: str, parameters: dict[str, Any], context: str) -> None:
        store: Store = self.settings["store"]
        filed = self._filed(parameters)
        assert filed is not None, "only an accepted message is kept"
        values = dict(zip(filed[1], parameters.get("TemplateParamSet", []), strict=True))
        now = self.now()
        store.forget("message", before=now - _DAY)
        message = {
            "template": filed[0],
            "template_id": parameters["TemplateId"],
            "parameters": values,
            "code": values.get("code"),
            "reference": context,
            "sent_at": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
        }
        store.append("message", number[-11:], now, message)


class MessagesHandler(ControlHandler):
    """What a phone would show."""

    def get(self) -> None:
        """The last message to `phone` (11 digits)."""
        store: Store = self.settings["store"]
        phone = self.get_query_argument("phone")
        template = self.get_query_argument("template", None)
        messages = store.all("message", phone, since=self.settings["now"]() - _DAY)
        wanted = [message for message in messages if template in (None, message["template"])]
        if not wanted:
            raise HTTPError(404, reason="no message to this number")
        self.reply({**wanted[-1], "count": len(wanted)})


class LimitsHandler(ControlHandler):
    """The switch of the limits per number."""

    def post(self) -> None:
        """On or off."""
        enabled = self.body().get("enabled")
        if not isinstance(enabled, bool):
            raise HTTPError(400, reason="enabled is true or false")
        self.settings["store"].replace("limits", "", 0.0, {"enabled": enabled})
        self.set_status(204)


def make_app(state_dir: Path, keys_dir: Path, *, now: Callable[[], float] = time.time) -> Application:
    """The simulator; keys in `tencent.json`, shared with the identity check, messages in `sms.sqlite3`."""
    store = Store(state_dir / "sms.sqlite3")
    return Application(
        [
            (r"/", SendSmsHandler),
            (r"/_control/sms", MessagesHandler),
            (r"/_control/limits", LimitsHandler),
            (r"/_control/faults", FaultsHandler),
        ],
        store=store,
        stop=store.stop,
        faults=Faults(store, frozenset({"error", "reject"})),
        keys=read_keys(keys_dir),
        now=now,
    )
