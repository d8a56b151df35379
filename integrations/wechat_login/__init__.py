"""WeChat mini-programs: login, phone number and subscribe messages."""

from integrations.wechat_login.calls import MiniProgram, WeChatCalls
from integrations.wechat_login.client import WeChatLoginClient
from integrations.wechat_login.messages import MessageTemplate, WeChatMessageClient
from integrations.wechat_login.tokens import MemoryTokenCache, TokenCache

__all__ = [
    "MemoryTokenCache",
    "MessageTemplate",
    "MiniProgram",
    "TokenCache",
    "WeChatCalls",
    "WeChatLoginClient",
    "WeChatMessageClient",
]
