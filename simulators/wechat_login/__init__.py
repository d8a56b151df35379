"""The server API of WeChat mini-programs, as far as login goes."""

from simulators.wechat_login.app import make_app

__all__ = ["make_app"]
