"""Whether the process lives, can write, and what it counts; the API's documents and their page."""

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any, Final

import tornado.web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from core.auth import ANYONE
from core.errors import CODES, ServiceUnavailable
from core.http import ApiHandler, BaseHandler, endpoint

# With its character set, as every JSON of ours; the documents are written as they are and not through a schema.
JSON_DOCUMENT: Final = "application/json; charset=utf-8"
SWAGGER_FILES: Final = ("swagger-ui-bundle.js", "swagger-ui.css")
PAGE: Final = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>互联网医院 API</title><link rel="stylesheet" href="/api/docs/swagger-ui.css"></head>
<body><div id="api"></div><script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script></body></html>"""
START: Final = "SwaggerUIBundle({url: '/api/v1/openapi.json', dom_id: '#api', deepLinking: true});"


class AliveHandler(ApiHandler):
    """For the container's health check."""

    @endpoint(roles=ANYONE, summary="进程存活", media_type="text/plain")
    async def get(self) -> None:
        """200 while the event loop turns."""
        self.set_header("Content-Type", "text/plain")
        self.write("ok\n")


class ReadyHandler(ApiHandler):
    """For the proxy: whether to send requests here."""

    @endpoint(roles=ANYONE, summary="可以写入", media_type="text/plain", errors=("unavailable",))
    async def get(self) -> None:
        """200 when MongoDB takes a write and Redis answers; 503 otherwise."""
        await self.ctx.store.ping_write(self.ctx.clock.now())
        if not self.ctx.bus.available:
            raise ServiceUnavailable
        self.set_header("Content-Type", "text/plain")
        self.write("ready\n")


class MetricsHandler(ApiHandler):
    """For Prometheus; the proxy does not pass it on to the outside (docs/operations.md)."""

    @endpoint(roles=ANYONE, summary="Prometheus 指标", media_type="text/plain")
    async def get(self) -> None:
        """The exposition format."""
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(generate_latest())


class OpenApiHandler(ApiHandler):
    """The description of this interface."""

    def initialize(self, described: Any = None) -> None:
        """Takes the document as `app/wiring.py` made it from all routes."""
        super().initialize()
        self.described = described

    @endpoint(roles=ANYONE, summary="OpenAPI 文档", media_type=JSON_DOCUMENT)
    async def get(self) -> None:
        """OpenAPI 3.1 or AsyncAPI 3, as JSON."""
        self.set_header("Content-Type", JSON_DOCUMENT)
        self.write(json.dumps(self.described, ensure_ascii=False))


class DocsHandler(BaseHandler):
    """The browsable page, served from Swagger UI's own files, and the list of refusals."""

    def get(self, name: str | None = None) -> None:
        """The page, its script, its style, or the table of error codes; anything else is not found."""
        csp = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
        self.set_header("Content-Security-Policy", csp)
        if not name:
            self._send("text/html", PAGE)
        elif name == "start.js":
            self._send("text/javascript", START)
        elif name == "errors":
            self._send("text/html", _errors_page())
        elif name in SWAGGER_FILES:
            kind = "text/css" if name.endswith(".css") else "text/javascript"
            self.set_header("Cache-Control", "public, max-age=86400")
            self._send(kind, _swagger_file(name))
        else:
            raise tornado.web.HTTPError(404)

    def _send(self, kind: str, content: str | bytes) -> None:
        self.set_header("Content-Type", f"{kind}; charset=utf-8")
        self.write(content)


@functools.cache
def _swagger_file(name: str) -> bytes:
    # Found without importing it: the package itself would pull in its own web handlers. Read once: 1.5 MB.
    spec = importlib.util.find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise tornado.web.HTTPError(404)
    return (Path(spec.origin).parent / "static" / name).read_bytes()


def _errors_page() -> str:
    rows = "".join(
        f'<tr id="{name}"><td><code>{name}</code></td><td>{code.status}</td><td>{code.title}</td></tr>'
        for name, code in sorted(CODES.items())
    )
    head = '<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>错误码</title>'
    return f"{head}<table><tr><th>code</th><th>status</th><th>说明</th></tr>{rows}</table></html>"


ROUTES = [
    (r"/healthz", AliveHandler),
    (r"/readyz", ReadyHandler),
    (r"/metrics", MetricsHandler),
    (r"/api/docs(?:/([\w.-]*))?", DocsHandler),
]
