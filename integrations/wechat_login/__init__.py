"""Login and phone number of WeChat mini-programs."""

from integrations.wechat_login.client import WeChatLoginClient, WeChatLoginConfig
from integrations.wechat_login.tokens import MemoryTokenCache, TokenCache

__all__ = ["MemoryTokenCache", "TokenCache", "WeChatLoginClient", "WeChatLoginConfig"]
