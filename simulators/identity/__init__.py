"""Tencent Cloud faceid, as far as the two-factor check goes."""

from simulators.identity.app import make_app

__all__ = ["make_app"]
