"""The events of the chat, of visits and of orders, one table; AsyncAPI is made from it and those of other parts."""

from collections.abc import Mapping
from typing import Final

from core.commands import Event
from im import schemas

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
