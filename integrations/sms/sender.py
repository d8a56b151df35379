"""Sends one text message at a time by `SendSms` (Tencent Cloud SMS, version 2021-01-11)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from core.ports import Rejected, SmsTemplate, Unavailable
from integrations.tencent_cloud import Credentials, TencentCloud, is_temporary


@dataclass(frozen=True)
class TemplateForm:
    """A template filed with the carrier: its number, and our names of its places {1}, {2}… in that order."""

    id: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class SmsConfig:
    """Where and as whom messages are sent; `sign_name` is the filed signature (短信签名), `timeout` in seconds."""

    credentials: Credentials
    app_id: str
    sign_name: str
    templates: Mapping[SmsTemplate, TemplateForm]
    endpoint: str = "https://sms.tencentcloudapi.com"
    region: str = "ap-guangzhou"
    timeout: float = 5.0


class TencentSms:
    """Fulfils `core.ports.SmsSender`."""

    def __init__(self, config: SmsConfig, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._config = config
        self._cloud = TencentCloud(
            config.endpoint,
            config.credentials,
            service="sms",
            version="2021-01-11",
            region=config.region,
            timeout=config.timeout,
            now=now,
        )

    async def start(self) -> None:
        """Open the connection pool."""
        await self._cloud.start()

    async def close(self) -> None:
        """Close the connections."""
        await self._cloud.close()

    async def send(self, phone: str, template: SmsTemplate, parameters: Mapping[str, str], *, reference: str) -> None:
        """Send once to an 11-digit mainland number; `reference` (under 512 bytes) returns in the receipts.

        `Unavailable` when the carrier could not say: the message may have been sent nevertheless, so a repeat is the
        caller's decision. `Rejected` holds the carrier's code, e.g. `LimitExceeded.PhoneNumberDailyLimit`, or
        `template_not_filed` where the hospital has no such template. `ValueError` when the parameters are not those of
        the template, before anything is sent.
        """
        form = self._config.templates.get(template)
        if form is None:
            raise Rejected("template_not_filed")
        if set(parameters) != set(form.parameters):
            raise ValueError(f"template {template} takes {form.parameters}")
        response = await self._cloud.call(
            "SendSms",
            {
                "PhoneNumberSet": [f"+86{phone}"],
                "SmsSdkAppId": self._config.app_id,
                "SignName": self._config.sign_name,
                "TemplateId": form.id,
                "TemplateParamSet": [parameters[name] for name in form.parameters],
                "SessionContext": reference,
            },
        )
        match response.get("SendStatusSet"):
            case [{"Code": "Ok"}]:
                return
            case [{"Code": str(code)}] if not is_temporary(code):
                raise Rejected(code)
            case [{"Code": str(code)}]:
                raise Unavailable(f"sms SendSms: {code}")
        raise Unavailable("sms SendSms: no readable status")
