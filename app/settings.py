"""Settings, read once from the environment. A name we do not know, a missing one or a bad value stops the start.

`Settings` holds where things are and the secrets; the hospital's rules as numbers are `core.policy.Policy`, each field
under its own name in upper case. `describe()` is the table in docs/operations.md.
"""

import base64
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from environs import Env, EnvError

from core.context import Turn
from core.policy import Policy
from storage.mongo import weak_points

Role = Literal["all", "api", "im", "rtc", "worker"]
DEMO_MARK: Final = "demo-"  # how the keys are called that scripts/server makes for itself
KEY_BYTES: Final = 32
HIGHEST_PORT: Final = 65_535
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
# A name of one of these families that is not a setting is a misspelt one.
FAMILIES: Final = (
    "MONGO_",
    "REDIS_",
    "LISTEN_",
    "WECHAT_",
    "SMS_",
    "IDENTITY_",
    "TENCENT_",
    "VISIT_",
    "MEDIA_",
    "SOCKET_",
    "RETAIN_",
    "FIELD_",
    "BLIND_",
    "STAFF_",
    "CALL_",
    "TURN_",
    "RECORDINGS_",
)


class BadSettings(Exception):
    """The environment does not make a hospital; the message is one line for the operator."""


def named(default: Any, meaning: str, *, secret: bool = False) -> Any:
    """A setting with its meaning; without a default it must be given. A secret one does not show in logs."""
    metadata = {"meaning": meaning, "secret": secret}
    if default is ...:
        return field(metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every name the process reads, in upper case."""

    mongo_uri: str = named(..., "MongoDB, replica set; `retryWrites=false` only for the embedded server", secret=True)
    mongo_database: str = named("internet_hospital", "the database")
    mongo_driver: str = named("motor", "`motor` or `pymongo`")
    redis_url: str = named(..., "Redis", secret=True)
    listen_host: str = named("127.0.0.1", "address to listen on")
    listen_port: int = named(8080, "port to listen on")
    public_url: str = named("http://127.0.0.1:8080", "how the outside reaches this hospital: callbacks, links")
    proxy_headers: bool = named(False, "trust X-Forwarded-For and -Proto of the proxy in front")
    drain_seconds: int = named(20, "over how long a stopping process sends its sockets elsewhere")
    production: bool = named(False, "refuse demo secrets, embedded stores, plain HTTP, logins without second factor")
    staff_second_factor: str = named("optional", "`required`: staff log in with a second factor only, or `optional`")
    log_level: str = named("info", "`debug`, `info`, `warning` or `error`")
    token_keys: str = named(..., 'JSON {"key id": "base64 of 32 bytes"}: access tokens', secret=True)
    token_key: str = named(..., "id of the key that signs new access tokens")
    field_keys: str = named(..., 'JSON {"key id": "base64 of 32 bytes"}: field encryption', secret=True)
    field_key: str = named(..., "id of the key that seals new fields")
    blind_index_key: str = named(..., "base64 of 32 bytes: look-up of sealed fields; never changed", secret=True)
    code_key: str = named(..., "base64 of 32 bytes: text-message codes and refresh tokens", secret=True)
    link_key: str = named(..., "base64 of 32 bytes: signed media links", secret=True)
    wechat_pay_url: str = named("https://api.mch.weixin.qq.com", "WeChat Pay APIv3")
    wechat_pay_file: str = named(..., "JSON file: merchant id, keys and certificates of WeChat Pay")
    wechat_url: str = named("https://api.weixin.qq.com", "WeChat's mini-program server API")
    wechat_file: str = named(..., "JSON file: app ids and secrets of the two mini-programs")
    sms_url: str = named("https://sms.tencentcloudapi.com", "Tencent Cloud SMS")
    identity_url: str = named("https://faceid.tencentcloudapi.com", "Tencent Cloud identity check")
    tencent_file: str = named(..., "JSON file: Tencent Cloud secret, SMS app, signature and templates")
    recordings_dir: str = named("var/recordings", "folder of an rtc process: recordings until the file store has them")
    turn_urls: str = named("", "STUN and TURN servers for calls, joined by commas: `turn:host:3478?transport=udp`")
    turn_secret: str = named("", "shared with coturn (`use-auth-secret`); needed by TURN servers", secret=True)
    allowed_origins: str = named("", "further origins that may open the websocket, joined by commas")
    policy: Policy = field(default_factory=Policy)


def read() -> Settings:
    """The settings from the process's environment; `BadSettings` names the first thing that is wrong."""
    env = Env()
    names = {one.name.upper() for one in (*_own_fields(), *fields(Policy))}
    strangers = sorted(name for name in os.environ if name.startswith(FAMILIES) and name not in names)
    if strangers:
        raise BadSettings(f"unknown setting {strangers[0]}")
    try:
        settings = Settings(policy=_policy(env), **{one.name: _value(env, one) for one in _own_fields()})
    except EnvError as error:
        raise BadSettings(str(error)) from error
    _refuse_contradictions(settings)
    return settings


def keys_of(settings: Settings, name: Literal["token_keys", "field_keys"]) -> dict[str, bytes]:
    """A set of keys by key id; `BadSettings` when it is not JSON of 32-byte keys."""
    try:
        found = {kid: base64.b64decode(key, validate=True) for kid, key in json.loads(getattr(settings, name)).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise BadSettings(f"{name.upper()} must be JSON of key ids and base64 keys") from error
    if any("." in kid or not kid for kid in found):
        raise BadSettings(f"{name.upper()} must name its keys by words without a full stop")
    if not found or any(len(key) != KEY_BYTES for key in found.values()):
        raise BadSettings(f"{name.upper()} must hold keys of {KEY_BYTES} bytes")
    return found


def key_of(settings: Settings, name: Literal["blind_index_key", "code_key", "link_key"]) -> bytes:
    """One key; `BadSettings` when it is not base64 of 32 bytes."""
    try:
        found = base64.b64decode(getattr(settings, name), validate=True)
    except ValueError as error:
        raise BadSettings(f"{name.upper()} must be base64") from error
    if len(found) != KEY_BYTES:
        raise BadSettings(f"{name.upper()} must be {KEY_BYTES} bytes")
    return found


def vendor_file(path: str, needed: Collection[str]) -> dict[str, Any]:
    """A vendor's JSON file; `BadSettings` when it cannot be read or lacks a name."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadSettings(f"cannot read {path}: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise BadSettings(f"{path} must hold a JSON object")
    for name in needed:
        if name not in found:
            raise BadSettings(f"{path} lacks {name}")
    return found


def part_of(path: str, found: Mapping[str, Any], *names: str) -> Any:
    """What stands in a vendor's file under these names, one within the other; `BadSettings` when it is not there."""
    part: Any = found
    for depth, name in enumerate(names, 1):
        if not isinstance(part, Mapping) or name not in part:
            raise BadSettings(f"{path} lacks {'.'.join(names[:depth])}")
        part = part[name]
    return part


def turn_of(settings: Settings) -> Turn:
    """The servers that clients of calls are told of; `BadSettings` when they cannot be used."""
    urls = tuple(one.strip() for one in settings.turn_urls.split(",") if one.strip())
    if any(not one.startswith(("stun:", "stuns:", "turn:", "turns:")) for one in urls):
        raise BadSettings("TURN_URLS must hold addresses that begin with stun:, stuns:, turn: or turns:")
    if any(one.startswith("turn") for one in urls) and not settings.turn_secret:
        raise BadSettings("TURN_SECRET must be given with a TURN server")
    return Turn(urls, settings.turn_secret)


def describe() -> list[dict[str, str]]:
    """Every setting: name, default, bounds, meaning; the table of docs/operations.md."""
    own = [
        {
            "name": one.name.upper(),
            "default": "required" if one.default is MISSING else str(one.default) or "empty",
            "bounds": "secret" if one.metadata["secret"] else "",
            "meaning": one.metadata["meaning"],
        }
        for one in _own_fields()
    ]
    rules = [
        {
            "name": one.name.upper(),
            "default": str(one.default),
            "bounds": f"{one.metadata['low']} to {one.metadata['high']}",
            "meaning": one.metadata["meaning"],
        }
        for one in fields(Policy)
    ]
    return own + rules


def _own_fields() -> list[Field[Any]]:
    return [one for one in fields(Settings) if one.name != "policy"]


def _value(env: Env, one: Field[Any]) -> Any:
    readers: dict[Any, Callable[..., Any]] = {int: env.int, bool: env.bool, str: env.str}
    given = () if one.default is MISSING else (one.default,)
    value = readers[one.type](one.name.upper(), *given)
    if value == "" and one.default is MISSING:
        raise BadSettings(f"{one.name.upper()} must not be empty")
    return value


def _policy(env: Env) -> Policy:
    given: dict[str, int] = {}
    for one in fields(Policy):
        value: int = env.int(one.name.upper(), one.default)  # type: ignore[assignment,arg-type]  # a default makes it an int
        if not one.metadata["low"] <= value <= one.metadata["high"]:
            raise BadSettings(f"{one.name.upper()} must lie between {one.metadata['low']} and {one.metadata['high']}")
        given[one.name] = value
    return Policy(**given)


def _refuse_contradictions(settings: Settings) -> None:
    if settings.mongo_driver not in ("motor", "pymongo"):
        raise BadSettings("MONGO_DRIVER must be motor or pymongo")
    if settings.log_level not in LOG_LEVELS:
        raise BadSettings(f"LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}")
    if settings.staff_second_factor not in ("required", "optional"):
        raise BadSettings("STAFF_SECOND_FACTOR must be required or optional")
    if not 0 <= settings.listen_port <= HIGHEST_PORT:
        raise BadSettings(f"LISTEN_PORT must lie between 0 and {HIGHEST_PORT}")
    if not settings.public_url.startswith(("http://", "https://")) or settings.public_url.endswith("/"):
        raise BadSettings("PUBLIC_URL must begin with http:// or https:// and end without a slash")
    if settings.policy.consult_fee_low > settings.policy.consult_fee_high:
        raise BadSettings("CONSULT_FEE_LOW must not lie above CONSULT_FEE_HIGH")
    _refuse_weak_store(settings)
    if settings.token_key not in keys_of(settings, "token_keys"):
        raise BadSettings(f"TOKEN_KEYS has no key {settings.token_key}")
    if settings.field_key not in keys_of(settings, "field_keys"):
        raise BadSettings(f"FIELD_KEYS has no key {settings.field_key}")
    key_of(settings, "blind_index_key")
    key_of(settings, "code_key")
    key_of(settings, "link_key")
    turn_of(settings)
    if settings.production:
        _refuse_demo(settings)


def _refuse_weak_store(settings: Settings) -> None:
    """Nowhere is a write acknowledged that may be lost; only the embedded server does without the driver's repeats."""
    weak = [fault for fault in weak_points(settings.mongo_uri) if not fault.startswith("retrywrites")]
    if weak:
        raise BadSettings(_weak(weak))


def _weak(faults: list[str]) -> str:
    return f"MONGO_URI weakens durability; it must say {', '.join(faults)}"


def _refuse_demo(settings: Settings) -> None:
    """Production starts with nothing that is good enough for a demonstration; all of it is told in one line."""
    faults = list(_unfit_for_production(settings))
    if faults:
        raise BadSettings("; ".join(faults))


def _unfit_for_production(settings: Settings) -> Iterator[str]:
    """Each begins with the name of its setting. What only the stores themselves can tell, `app/wiring.py` asks them."""
    names: tuple[Literal["token_keys"], Literal["field_keys"]] = ("token_keys", "field_keys")
    for name in names:
        # A key that only reads is as good as one that signs, to who made it for a demonstration.
        if any(kid.startswith(DEMO_MARK) for kid in keys_of(settings, name)):
            yield f"{name.upper()} holds a demo key; production needs its own"
    weak = weak_points(settings.mongo_uri)
    if weak:
        yield _weak(weak)
    for link in ("public_url", "wechat_pay_url", "wechat_url", "sms_url", "identity_url"):
        if not getattr(settings, link).startswith("https://"):
            yield f"{link.upper()} must be https in production"
    if not settings.proxy_headers:
        yield "PROXY_HEADERS must be true in production: TLS ends at the proxy, which tells who asks"
    if settings.staff_second_factor != "required":
        yield "STAFF_SECOND_FACTOR must be required in production"
