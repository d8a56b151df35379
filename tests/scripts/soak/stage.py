"""The other side of a member, in the test's hand: it numbers what is said as the hospital does, and errs if told to."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import tornado.web
import tornado.websocket
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from scripts.soak.member import Seat

CONVERSATION = "C" * 26
SEATS = [Seat(number, f"t{number}", f"d{number}", CONVERSATION, {"P": 0, "D": 1}) for number in (0, 1)]
PAGE = 3


@dataclass
class Stage:
    """`stored` as (account, text); `answers` may replace the answer to a message, by its id: None is silence."""

    port: int = 0
    stored: list[tuple[str, str]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    sockets: "list[Socket]" = field(default_factory=list)
    answers: Callable[[str, dict[str, Any]], dict[str, Any] | None] = lambda id_, answer: answer
    status: int = 200

    def message(self, seq: int) -> dict[str, Any]:
        account, text = self.stored[seq - 1]
        return {"conversation": CONVERSATION, "seq": seq, "from": {"account": account}, "body": {"text": text}}

    def page(self, cursor: int) -> dict[str, Any]:
        last = len(self.stored)
        found = [self.message(seq) for seq in range(cursor + 1, min(cursor + PAGE, last) + 1)]
        return {"messages": found, "items": found, "more": cursor + len(found) < last}

    def say(self, account: str, text: str) -> dict[str, Any]:
        """Store once; the ack."""
        known = (account, text) in self.stored
        if not known:
            self.stored.append((account, text))
        return {"seq": self.stored.index((account, text)) + 1, "dup": known}

    def push(self, seq: int) -> None:
        """To every socket that is in."""
        for socket in self.sockets:
            socket.tell({"ev": "message.created", "data": self.message(seq)})


class Socket(tornado.websocket.WebSocketHandler):
    account = ""

    @property
    def stage(self) -> Stage:
        stage: Stage = self.application.settings["stage"]
        return stage

    def tell(self, said: Any) -> None:
        self.write_message(json.dumps(said))

    def on_close(self) -> None:
        if self in self.stage.sockets:
            self.stage.sockets.remove(self)

    def on_message(self, message: str | bytes) -> None:
        asked = json.loads(message)
        self.stage.asked.append(asked)
        id_, args = asked["id"], asked["args"]
        if asked["op"] == "hello":
            self.account = "P" if args["token"] == "t0" else "D"
            self.stage.sockets.append(self)
            self.tell({"re": id_, "ok": True, "data": {}})
        elif asked["op"] == "sync":
            page = self.stage.page(args["cursors"][CONVERSATION])
            self.tell({"re": id_, "ok": True, "data": {"conversations": [page]}})
        else:
            answer = {"re": id_, "ok": True, "data": self.stage.say(self.account, args["body"]["text"])}
            if (told := self.stage.answers(id_, answer)) is not None:
                self.tell(told)


class History(tornado.web.RequestHandler):
    def get(self) -> None:
        stage: Stage = self.application.settings["stage"]
        self.set_status(stage.status)
        self.write(stage.page(int(self.get_query_argument("after"))))


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    stage = Stage()
    routes = [(r"/ws", Socket), (rf"/api/v1/visits/{CONVERSATION}/messages", History)]
    server = HTTPServer(tornado.web.Application(routes, stage=stage))
    socket, stage.port = bind_unused_port()
    server.add_socket(socket)
    try:
        yield stage
    finally:
        server.stop()
        await server.close_all_connections()


def refusal(id_: str, code: str) -> dict[str, Any]:
    return {"re": id_, "ok": False, "error": {"code": code}}
