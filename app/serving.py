"""One process of the hospital: listening, the worker's loops, and a stop that loses nothing."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final
from weakref import WeakSet

import structlog
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from app.settings import BadSettings, Settings
from app.wiring import PERIODIC, Hospital, Media, media, open_hospital, routes_of, serve_media
from core import lag, metrics, tasks
from core.context import Context
from core.errors import AWAY
from core.http import DRAINED_BODY, HospitalApplication
from core.ids import Clock

log = structlog.get_logger()

# Requests that were being answered when the stop came get this long to finish.
DRAIN_SECONDS: Final = 10.0
# Between two looks at whether they have: nothing tells of the last byte having left.
LOOK_SECONDS: Final = 0.02


class Application(HospitalApplication):
    """Knows which requests are being answered, so that a stop can wait for them: Tornado by itself cuts them off."""

    def __init__(self, ctx: Context, routes: list[Any], **settings: Any) -> None:
        self._begun: WeakSet[Any] = WeakSet()
        super().__init__(ctx, routes, **settings)

    def get_handler_delegate(self, *given: Any, **named: Any) -> Any:
        """As Tornado makes it, remembered for as long as somebody else does."""
        delegate = super().get_handler_delegate(*given, **named)
        self._begun.add(delegate)
        return delegate

    async def answered(self) -> None:
        """Until everything that was asked has been answered to its last byte, or its asker has gone."""
        while any(_is_being_answered(delegate) for delegate in self._begun):  # noqa: ASYNC110 -- see LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)


def _is_being_answered(delegate: Any) -> bool:
    stream = delegate.connection.stream  # None: a websocket has taken it over
    if stream is None or stream.closed():
        return False
    handler = getattr(delegate, "handler", None)
    return handler is None or not handler._finished or stream.writing()


class Process:
    """A started process of some role; `stop` ends it in order."""

    def __init__(
        self,
        hospital: Hospital,
        role: str,
        server: HTTPServer,
        application: Application,
        port: int,
        drain_seconds: float,
    ) -> None:
        self.hospital = hospital
        self.role = role
        self.port = port
        self._server = server
        self._application = application
        self._drain_seconds = drain_seconds
        self._loops: list[asyncio.Task[Any]] = [tasks.spawn("loop.lag", lag.probe(metrics.LOOP_LAG.observe))]
        if role in ("all", "worker"):
            self._loops.append(tasks.spawn("worker.duties", hospital.ctx.duties.run_forever()))
            self._loops += [
                tasks.spawn(f"worker.{run.__name__}", _repeat(seconds, run, hospital.ctx)) for seconds, run in PERIODIC
            ]

    @property
    def ctx(self) -> Context:
        """The process's context."""
        return self.hospital.ctx

    async def stop(self) -> None:
        """Take no more, tell the sockets to go elsewhere, finish what is being answered, then let go of the stores."""
        self._server.stop()
        await self.hospital.hub.drain(self._drain_seconds)
        await tasks.stop(*self._loops)
        for last in (self._application.answered(), self._server.close_all_connections()):
            try:
                await asyncio.wait_for(last, DRAIN_SECONDS)
            except TimeoutError:
                log.warning("stop.connections_cut")
        await self.hospital.close()


async def start(
    settings: Settings, role: str, *, clock: Clock | None = None, media_half: Media | None = None
) -> Process:
    """Open the hospital and listen; `BadSettings` with one line when the port is taken.

    That is found out before any store is asked, but nobody is let on the line before they can be answered: clients of a
    process that died would fill the queue of the new one, where each of them hangs instead of trying again.
    `media_half` makes the rooms of calls in the role `rtc`; not given, the real one does.
    """
    for one in _bind(settings):
        one.close()
    made = (media_half or media(settings)) if role == "rtc" else None
    hospital = await open_hospital(settings, clock=clock)
    try:
        if made is not None:
            await serve_media(hospital, made)
        sockets = _bind(settings)
    except BaseException:
        await hospital.close()
        raise
    origins = [one.strip() for one in settings.allowed_origins.split(",") if one.strip()]
    application = Application(
        hospital.ctx, routes_of(role), hub=hospital.hub, allowed_origins=origins, websocket_max_message_size=64 * 1024
    )
    server = HTTPServer(
        application,
        xheaders=settings.proxy_headers,
        max_body_size=DRAINED_BODY,
        idle_connection_timeout=75,
        body_timeout=600,
    )
    server.add_sockets(sockets)
    port = sockets[0].getsockname()[1]
    log.info("app.ready", role=role, port=port, process=hospital.ctx.process)
    return Process(hospital, role, server, application, port, settings.drain_seconds)


def _bind(settings: Settings) -> list[socket.socket]:
    try:
        return bind_sockets(settings.listen_port, settings.listen_host)
    except OSError as error:
        raise BadSettings(
            f"cannot listen on {settings.listen_host}:{settings.listen_port}: {error.strerror}"
        ) from error


async def _repeat(seconds: float, run: Callable[[Context], Awaitable[Any]], ctx: Context) -> None:
    while True:
        try:
            await run(ctx)
        except AWAY as error:
            log.warning("periodic.store_away", what=run.__name__, error=type(error).__name__)
        except Exception:
            log.exception("periodic.failed", what=run.__name__)
        await asyncio.sleep(seconds)
