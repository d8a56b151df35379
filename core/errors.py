"""The refusals a client may see. Everything else is a bug: logged with a request id, answered blandly.

`CODES` is the whole list of codes with their HTTP status and the Chinese sentence people read; `docs/api/errors.md` is
made from it. A refusal whose code is not in the table cannot be raised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.ports import Unavailable
from storage.mongo import STORE_AWAY, is_broken
from storage.redis import BUS_AWAY


@dataclass(frozen=True)
class Code:
    """One documented refusal."""

    status: int
    title: str


CODES: Final[Mapping[str, Code]] = {
    "malformed": Code(400, "请求格式有误"),
    "unauthenticated": Code(401, "请先登录"),
    "bad_credentials": Code(401, "账号、密码或验证码不正确"),
    "token_reused": Code(401, "登录状态已失效，请重新登录"),
    "forbidden": Code(403, "没有权限进行此操作"),
    "locked": Code(403, "密码错误次数过多，账号已暂时锁定"),
    "account_disabled": Code(403, "账号已停用，请联系医院"),
    "password_expired": Code(403, "初始密码已过期，请联系管理员重置"),
    "elevation_required": Code(403, "此操作需要重新验证身份，请输入密码或动态验证码"),
    "not_found": Code(404, "内容不存在"),
    "method_not_allowed": Code(405, "不支持的请求方式"),
    "conflict": Code(409, "数据已被更改，请刷新后重试"),
    "wrong_state": Code(409, "当前状态不允许此操作"),
    "idempotency_conflict": Code(409, "同一请求编号对应了不同的内容"),
    "in_progress": Code(409, "相同的请求正在处理中"),
    "already_paid": Code(409, "订单已支付"),
    "already_rated": Code(409, "已经评价过"),
    "duplicate": Code(409, "已存在相同的记录"),
    "limit_reached": Code(409, "数量已达上限"),
    "doctor_unavailable": Code(409, "该医生暂不提供此项服务"),
    "not_verified": Code(409, "就诊人尚未通过实名认证"),
    "guardian_required": Code(409, "未满14周岁的就诊人须先完成监护人实名认证"),
    "verification_failed": Code(409, "实名认证未通过"),
    "wechat_required": Code(409, "请先使用微信登录后再支付"),
    "answered_elsewhere": Code(409, "已在其他设备处理"),
    "wrong_offset": Code(409, "续传位置与已收到的内容不一致，请重新查询"),
    "gone": Code(410, "上传已过期、已取消或未通过检查"),
    "unsupported_version": Code(412, "不支持的续传协议版本"),
    "too_large": Code(413, "内容超出大小限制"),
    "unsupported_media": Code(415, "不支持的文件类型"),
    "range_not_satisfiable": Code(416, "请求的范围超出文件大小"),
    "invalid": Code(422, "填写的内容有误"),
    "rate_limited": Code(429, "操作过于频繁，请稍后再试"),
    "overloaded": Code(503, "系统繁忙，请稍后再试"),
    "unavailable": Code(503, "服务暂时不可用，请稍后再试"),
    "internal": Code(500, "系统内部错误"),
}


class AppError(Exception):
    """A refusal with a stable code; `detail` is for people, `errors` names the fields at fault."""

    code = "internal"

    def __init__(
        self,
        detail: str | None = None,
        *,
        code: str | None = None,
        errors: Mapping[str, Sequence[str]] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.code = code or self.code
        entry = CODES[self.code]
        self.status = entry.status
        self.title = entry.title
        self.detail = detail or entry.title
        self.errors = {field: list(said) for field, said in (errors or {}).items()}
        self.retry_after = retry_after
        super().__init__(f"{self.code}: {self.detail}")


class Malformed(AppError):
    """400: not what the wire format says."""

    code = "malformed"


class Unauthenticated(AppError):
    """401: nobody we know, or no longer."""

    code = "unauthenticated"


class Forbidden(AppError):
    """403: known, but this is not theirs to do."""

    code = "forbidden"


class NotFound(AppError):
    """404: not there, or there and not yours; the two look the same."""

    code = "not_found"


class Conflict(AppError):
    """409: the state of things does not allow it; give the named code where there is one."""

    code = "conflict"


class WrongState(Conflict):
    """409: the document is in a state from which this move does not exist."""

    code = "wrong_state"


class TooLarge(AppError):
    """413: more bytes than the setting allows."""

    code = "too_large"


class UnsupportedMedia(AppError):
    """415: not a type of content taken here."""

    code = "unsupported_media"


class Invalid(AppError):
    """422: understood, but a field is wrong; nothing was changed."""

    code = "invalid"

    @classmethod
    def field(cls, name: str, said: str) -> "Invalid":
        """The common case: one field, one sentence."""
        return cls(said, errors={name: [said]})


class RateLimited(AppError):
    """429: too often; `retry_after` in seconds."""

    code = "rate_limited"


class ServiceUnavailable(AppError):
    """503: an outside system or store that this needs is down; nothing was changed, try again."""

    code = "unavailable"

    def __init__(self, detail: str | None = None, *, code: str | None = None, retry_after: float | None = 5) -> None:
        super().__init__(detail, code=code, retry_after=retry_after)


# What means "a store or an outside system is away", wherever it surfaces.
AWAY: Final[tuple[type[BaseException], ...]] = (*STORE_AWAY, *BUS_AWAY, Unavailable)


def is_away(error: BaseException) -> bool:
    """Whether a store or an outside system is away, or the store is there and cannot work (a full disk)."""
    return isinstance(error, AWAY) or is_broken(error)


def refusal_of(error: BaseException) -> AppError | None:
    """The refusal a door answers for this error: itself, 503 for what is away, None for a bug."""
    if isinstance(error, AppError):
        return error
    return ServiceUnavailable() if is_away(error) else None
