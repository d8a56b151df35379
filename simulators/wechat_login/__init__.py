"""The server API of WeChat mini-programs, as far as login and subscribe messages go."""

from simulators.wechat_login.app import make_app

__all__ = ["make_app"]
