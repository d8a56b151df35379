"""The events that a socket may be told, one table; AsyncAPI is made from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from marshmallow import Schema

from im import schemas


@dataclass(frozen=True)
class Event:
    """One event: who is told, and what its `data` holds."""

    summary: str
    data: Schema


EVENTS: Final[Mapping[str, Event]] = {
    "message.created": Event("新消息：双方的全部连接", schemas.MessageView()),
    "message.read": Event("已读位置前移：双方的全部连接", schemas.ReadMark()),
    "typing": Event("对方正在输入", schemas.Typing()),
    "visit.updated": Event("咨询状态变化", schemas.VisitUpdated()),
    "order.updated": Event("订单状态变化", schemas.OrderUpdated()),
    "desk.updated": Event("接诊台待接诊、接诊中数量变化", schemas.DeskUpdated()),
    "session.replaced": Event("本设备已建立新的连接，随后以4003关闭", schemas.Replaced()),
    "drain": Event("服务即将停止，请在指定时间后重新连接，随后以4012关闭", schemas.Drain()),
}
