"""Tencent Cloud SMS, as far as sending one message goes."""

from simulators.sms.app import make_app

__all__ = ["make_app"]
