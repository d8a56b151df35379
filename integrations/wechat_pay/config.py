"""What the merchant was given by WeChat Pay, and where the two sides reach each other."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

PRODUCTION = "https://api.mch.weixin.qq.com"
APIV3_KEY_BYTES = 32


@dataclass(frozen=True)
class WeChatPayConfig:
    """The account of one merchant with one mini-program; keys are PEM text and never shown by `repr`.

    `notify_url_base` is the public address under which the two callbacks live (`…/api/v1/notify`), https and without
    a query, as the vendor asks. `timeout` is in seconds and spans a whole call. A value that cannot be right is a
    `ValueError`.
    """

    mchid: str
    appid: str
    merchant_private_key: str = field(repr=False)
    merchant_serial: str
    apiv3_key: str = field(repr=False)
    platform_public_key: str = field(repr=False)
    platform_public_key_id: str
    notify_url_base: str
    base_url: str = PRODUCTION
    timeout: float = 8.0

    def __post_init__(self) -> None:
        if len(self.apiv3_key.encode()) != APIV3_KEY_BYTES:
            raise ValueError("the APIv3 key has 32 bytes")
        for name in ("base_url", "notify_url_base"):
            parts = urlsplit(getattr(self, name))
            if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
                raise ValueError(f"{name} is an address without a query")
        if self.timeout <= 0:
            raise ValueError("timeout is a number of seconds")

    @property
    def pay_notify_url(self) -> str:
        """Where payments are told."""
        return f"{self.notify_url_base.rstrip('/')}/wechat-pay"

    @property
    def refund_notify_url(self) -> str:
        """Where refunds are told."""
        return f"{self.notify_url_base.rstrip('/')}/wechat-refund"

    @classmethod
    def read(cls, path: Path, *, notify_url_base: str, base_url: str = PRODUCTION, timeout: float = 8.0) -> Self:
        """Read a merchant's list of numbers and key files (JSON, file names relative to it).

        Fields: `mchid`, `appid`, `serial`, `apiv3_key`, `public_key_id`, `merchant_private_key_file`,
        `platform_public_key_file`; others are left alone. What is missing or cannot be right is a `ValueError`, a file
        that cannot be read an `OSError`.
        """
        listed: dict[str, Any] = json.loads(path.read_text())
        try:
            return cls(
                mchid=listed["mchid"],
                appid=listed["appid"],
                merchant_private_key=(path.parent / listed["merchant_private_key_file"]).read_text(),
                merchant_serial=listed["serial"],
                apiv3_key=listed["apiv3_key"],
                platform_public_key=(path.parent / listed["platform_public_key_file"]).read_text(),
                platform_public_key_id=listed["public_key_id"],
                notify_url_base=notify_url_base,
                base_url=base_url,
                timeout=timeout,
            )
        except KeyError as failure:
            raise ValueError(f"{path.name} names no {failure.args[0]}") from failure
