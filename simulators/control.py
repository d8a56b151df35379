"""What the `/_control/…` pages of the simulators share: JSON in and out, for callers on this machine only."""

import json
from typing import Any

from tornado.web import HTTPError, RequestHandler

LOOPBACK = frozenset({"127.0.0.1", "::1"})


class ControlHandler(RequestHandler):
    """One page that drives a simulator; refusals are `{"error": …}` with a 4xx status."""

    def prepare(self) -> None:
        """Turn away whoever is not on this machine (403)."""
        if self.request.remote_ip not in LOOPBACK:
            raise HTTPError(403, reason="loopback only")

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent; empty when nothing was. Anything else is a 400."""
        if not self.request.body:
            return {}
        try:
            body = json.loads(self.request.body)
        except ValueError as failure:
            raise HTTPError(400, reason="the body is not JSON") from failure
        if not isinstance(body, dict):
            raise HTTPError(400, reason="the body is not a JSON object")
        return body

    def reply(self, document: Any, status: int = 200) -> None:
        """Answer with a JSON document of any shape."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(document, ensure_ascii=False))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tell why, in one line of JSON."""
        self.reply({"error": self._reason}, status_code)
