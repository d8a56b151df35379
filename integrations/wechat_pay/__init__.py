"""Our side of WeChat Pay APIv3: orders, refunds and their notifications for one merchant."""

from integrations.wechat_pay.config import WeChatPayConfig
from integrations.wechat_pay.gateway import WeChatPay

__all__ = ["WeChatPay", "WeChatPayConfig"]
