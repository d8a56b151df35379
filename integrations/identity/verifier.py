"""Two-factor real-name check by `IdCardVerification` (Tencent Cloud faceid, version 2018-03-01)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from core.ports import IdentityCheck, Rejected, Unavailable, Verdict
from integrations.tencent_cloud import Credentials, TencentCloud

PROVIDER = "tencent_faceid"

# The vendor's `Result` codes that are answers about the person. Whatever is not listed here is no verdict (R2-1).
_VERDICTS = {
    "0": Verdict.MATCH,
    "-1": Verdict.MISMATCH,
    "-2": Verdict.INVALID,  # the number is malformed
    "-3": Verdict.INVALID,  # the name is malformed
    "-5": Verdict.NO_RECORD,
}
# -4: the register failed; -6: it is being upgraded.
_NOT_NOW = frozenset({"-4", "-6"})


@dataclass(frozen=True)
class IdentityConfig:
    """Where and as whom people are checked; `timeout` in seconds."""

    credentials: Credentials
    endpoint: str = "https://faceid.tencentcloudapi.com"
    timeout: float = 8.0  # the register behind the vendor answers slower than the vendor itself


class TencentIdentityVerifier:
    """Fulfils `core.ports.IdentityVerifier`."""

    def __init__(self, config: IdentityConfig, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._cloud = TencentCloud(
            config.endpoint,
            config.credentials,
            service="faceid",
            version="2018-03-01",
            timeout=config.timeout,
            now=now,
        )

    async def start(self) -> None:
        """Open the connection pool."""
        await self._cloud.start()

    async def close(self) -> None:
        """Close the connections."""
        await self._cloud.close()

    async def verify(self, name: str, id_number: str) -> IdentityCheck:
        """Compare name and number with the register; the serial is the vendor's `RequestId`.

        A register that fails is `Unavailable`; any other result without a verdict is `Rejected`, e.g. `result_-7` when
        the number was checked too often today. The same call may be made again.
        """
        response = await self._cloud.call("IdCardVerification", {"IdCard": id_number, "Name": name})
        result = response.get("Result")
        if not isinstance(result, str) or result in _NOT_NOW:
            raise Unavailable(f"faceid IdCardVerification: result {result}")
        verdict = _VERDICTS.get(result)
        if verdict is None:
            raise Rejected(f"result_{result}")
        return IdentityCheck(verdict=verdict, provider=PROVIDER, serial=response["RequestId"])
