"""jscode2session, stable_token, getuserphonenumber and subscribe messages, and the user's side of them.

- `POST /_control/codes {"phone", "openid"?, "app"?, "country_code"?}` → `{"login_code", "phone_code", "openid"}`: what
  the two buttons of the mini-program would give to a user with that phone. Each code holds 5 minutes and once. `app`
  (`patient`, `staff`) binds them to one mini-program; without it the first that redeems may. The openid is always the
  same for a phone in a mini-program unless given; it is null in the answer when neither `app` nor `openid` was given.
- `POST /_control/tokens/revoke {"app", "still_handed_out"?}`: the current access token is refused from now on.
- `POST /_control/permissions {"app", "openid" or "phone", "template"?, "count"?}`: the user accepts one more message of
  the template (`notice`), or `count`; answers `{"openid", "left"}`.
- `GET /_control/messages?app=patient&openid=…` (or `&phone=…`) → the subscribe messages the user got within a day,
  oldest first: `[{"template", "page", "data": {place: value}, "msgid", "sent_at"}]`.
- `GET /_control/calls` → calls by path since the start.
- `/_control/faults` (see `simulators.faults`): `error` answers the `code` given as `errcode`, e.g. -1.
"""

import json
import re
import secrets
import time
from base64 import b64encode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.web import Application, HTTPError

from simulators.control import ControlHandler
from simulators.faults import Faults, FaultsHandler, VendorHandler
from simulators.key_files import read_or_make
from simulators.store import Store
from simulators.wechat_login.messages import Messages
from simulators.wechat_login.state import Codes, Tokens, WeChatError, openid_of, unionid_of


def read_keys(keys_dir: Path) -> dict[str, Any]:
    """`wechat.json`: `{"patient": {"appid", "secret", "templates"}, "staff": {…}}`; appids as in the pay simulator.

    `templates`: name → `{"id", "page", "fields": {place of WeChat's: the hospital's name of the value}}`.
    """
    return read_or_make(
        keys_dir / "wechat.json",
        lambda: {
            "patient": _mini_program("wx00000000000demo1", notice="pages/index/index", call="pages/call/index"),
            "staff": _mini_program("wx00000000000demo2", notice="pages/index/index"),
        },
    )


def _mini_program(appid: str, **pages: str) -> dict[str, Any]:
    fields = {"thing1": "matter", "thing2": "hint", "time3": "at"}
    templates = {
        name: {"id": _template_id(f"{name} of {appid}, 43 long"), "page": page, "fields": fields}
        for name, page in pages.items()
    }
    return {"appid": appid, "secret": f"demo{secrets.token_hex(14)}", "templates": templates}


def _template_id(said: str) -> str:
    return urlsafe_b64encode(said.encode() + bytes(32)).decode()[:43]


class WeChatHandler(VendorHandler):
    """Base of WeChat's calls: HTTP 200 always, JSON under the name of text."""

    async def prepare(self) -> None:
        """Count the call, then suffer the fault."""
        self.settings["calls"][self.request.path] += 1
        await super().prepare()

    def answer(self, make: Callable[[], dict[str, Any]]) -> None:
        """Answer what `make` gives or its `WeChatError`."""
        try:
            if self.fault is not None and self.fault["fault"] == "error":
                raise WeChatError(int(self.fault["code"]), "switched on by the fault switch")
            body = make()
        except WeChatError as error:
            body = {"errcode": error.errcode, "errmsg": f"{error.errmsg} rid: {secrets.token_hex(4)}"}
        self.set_header("Content-Type", "text/plain")
        self.finish(json.dumps(body, ensure_ascii=False))

    def require_app(self, appid: Any, secret: Any) -> str:
        """The appid of a mini-program that shows its secret."""
        for app in self.settings["keys"].values():
            if app["appid"] == appid:
                if app["secret"] != secret:
                    raise WeChatError(40125, "invalid appsecret")
                return str(appid)
        raise WeChatError(40013, "invalid appid")

    def require_token(self) -> str:
        """The appid of the mini-program whose access token the query carries."""
        token = self.get_query_argument("access_token", "")
        if not token:
            raise WeChatError(41001, "access_token missing")
        appid: str = self.settings["tokens"].appid_of(token)
        return appid

    def json_body(self) -> dict[str, Any]:
        """The JSON object of the request."""
        try:
            body = json.loads(self.request.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise WeChatError(47001, "data format error")
        return body


class SessionHandler(WeChatHandler):
    """GET /sns/jscode2session."""

    def get(self) -> None:
        """Who the login code stands for."""
        self.answer(self._session)

    def _session(self) -> dict[str, Any]:
        appid = self.require_app(self.get_query_argument("appid", ""), self.get_query_argument("secret", ""))
        if self.get_query_argument("grant_type", "") != "authorization_code":
            raise WeChatError(40002, "invalid grant_type")
        code = self.get_query_argument("js_code", "")
        if not code:
            raise WeChatError(41008, "missing code")
        person = self.settings["codes"].redeem("login", code, appid)
        openid = person["openid"] or openid_of(appid, person["phone"])
        self.settings["messages"].meet(appid, openid)
        return {
            "session_key": b64encode(secrets.token_bytes(16)).decode(),
            "openid": openid,
            "unionid": unionid_of(person["phone"]),
        }


class TokenHandler(WeChatHandler):
    """POST /cgi-bin/stable_token."""

    def post(self) -> None:
        """The access token."""
        self.answer(self._token)

    def _token(self) -> dict[str, Any]:
        body = self.json_body()
        if body.get("grant_type") != "client_credential":
            raise WeChatError(40002, "invalid grant_type")
        appid = self.require_app(body.get("appid"), body.get("secret"))
        token, seconds = self.settings["tokens"].hand_out(appid, force=body.get("force_refresh") is True)
        return {"access_token": token, "expires_in": seconds}


class PhoneHandler(WeChatHandler):
    """POST /wxa/business/getuserphonenumber."""

    def post(self) -> None:
        """The number that the phone code stands for."""
        self.answer(self._phone)

    def _phone(self) -> dict[str, Any]:
        appid = self.require_token()
        code = self.json_body().get("code")
        if not isinstance(code, str) or not code:
            raise WeChatError(40029, "invalid code")
        person = self.settings["codes"].redeem("phone", code, appid)
        country, number = person["country_code"], person["phone"]
        return {
            "errcode": 0,
            "errmsg": "ok",
            "phone_info": {
                "phoneNumber": number if country == "86" else f"+{country}{number}",
                "purePhoneNumber": number,
                "countryCode": country,
                "watermark": {"timestamp": int(self.settings["now"]()), "appid": appid},
            },
        }


class SendHandler(WeChatHandler):
    """POST /cgi-bin/message/subscribe/send."""

    def post(self) -> None:
        """The message's number."""
        self.answer(self._send)

    def _send(self) -> dict[str, Any]:
        appid = self.require_token()
        templates = next(app["templates"] for app in self.settings["keys"].values() if app["appid"] == appid)
        number = self.settings["messages"].send(appid, templates, self.json_body())
        return {"errcode": 0, "errmsg": "ok", "msgid": number}


class UserHandler(ControlHandler):
    """Base of the pages about one user of one mini-program."""

    def user(self, given: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The mini-program's keys and the openid, which may be told by the phone."""
        app = self.settings["keys"].get(given.get("app"))
        if app is None:
            raise HTTPError(400, reason="app is patient or staff")
        openid, phone = given.get("openid"), given.get("phone")
        if not isinstance(openid or phone, str):
            raise HTTPError(400, reason="openid or phone is a string")
        return app, openid or openid_of(app["appid"], str(phone))


class PermissionsHandler(UserHandler):
    """The user who accepts messages."""

    def post(self) -> None:
        """One more, or `count`."""
        body = self.body()
        app, openid = self.user(body)
        template, count = app["templates"].get(body.get("template", "notice")), body.get("count", 1)
        if template is None:
            raise HTTPError(400, reason=f"template is one of {', '.join(app['templates'])}")
        if type(count) is not int or count < 1:
            raise HTTPError(400, reason="count is a number from 1")
        messages: Messages = self.settings["messages"]
        messages.allow(app["appid"], openid, template["id"], count)
        self.reply({"openid": openid, "left": messages.allowed(app["appid"], openid, template["id"])})


class MessagesHandler(UserHandler):
    """What the user's WeChat would show."""

    def get(self) -> None:
        """The messages."""
        given = {name: self.get_query_argument(name, None) for name in ("app", "openid", "phone")}
        app, openid = self.user(given)
        self.reply(self.settings["messages"].sent(app["appid"], openid))


class CodesHandler(ControlHandler):
    """The user who presses the buttons."""

    def post(self) -> None:
        """A login code and a phone code."""
        body = self.body()
        phone, country, openid = body.get("phone"), body.get("country_code", "86"), body.get("openid")
        if not (isinstance(phone, str) and re.fullmatch(r"\d{5,15}", phone, re.ASCII)):
            raise HTTPError(400, reason="phone is a string of digits")
        if not (isinstance(country, str) and re.fullmatch(r"\d{1,3}", country, re.ASCII)):
            raise HTTPError(400, reason="country_code is a string of digits")
        if openid is not None and not isinstance(openid, str):
            raise HTTPError(400, reason="openid is a string")
        app = body.get("app")
        if app is not None and app not in self.settings["keys"]:
            raise HTTPError(400, reason="app is patient or staff")
        appid = self.settings["keys"][app]["appid"] if app else None
        person = {"phone": phone, "country_code": country, "openid": openid, "appid": appid}
        self.reply(
            {
                "login_code": self.settings["codes"].mint("login", person),
                "phone_code": self.settings["codes"].mint("phone", person),
                "openid": openid or (openid_of(appid, phone) if appid else None),
            }
        )


class RevokeHandler(ControlHandler):
    """WeChat that takes its token back."""

    def post(self) -> None:
        """Refuse the current one."""
        body = self.body()
        if body.get("app") not in self.settings["keys"]:
            raise HTTPError(400, reason="app is patient or staff")
        appid = self.settings["keys"][body["app"]]["appid"]
        self.settings["tokens"].revoke(appid, still_handed_out=body.get("still_handed_out") is True)
        self.set_status(204)


class CallsHandler(ControlHandler):
    """What was called."""

    def get(self) -> None:
        """Counts by path."""
        self.reply(dict(self.settings["calls"]))


def make_app(state_dir: Path, keys_dir: Path, *, now: Callable[[], float] = time.time) -> Application:
    """The simulator; keys in `wechat.json`, codes and tokens in `wechat_login.sqlite3`."""
    store = Store(state_dir / "wechat_login.sqlite3")
    return Application(
        [
            (r"/sns/jscode2session", SessionHandler),
            (r"/cgi-bin/stable_token", TokenHandler),
            (r"/wxa/business/getuserphonenumber", PhoneHandler),
            (r"/cgi-bin/message/subscribe/send", SendHandler),
            (r"/_control/codes", CodesHandler),
            (r"/_control/permissions", PermissionsHandler),
            (r"/_control/messages", MessagesHandler),
            (r"/_control/tokens/revoke", RevokeHandler),
            (r"/_control/calls", CallsHandler),
            (r"/_control/faults", FaultsHandler),
        ],
        store=store,
        stop=store.stop,
        faults=Faults(store, frozenset({"error"})),
        keys=read_keys(keys_dir),
        codes=Codes(store, now),
        tokens=Tokens(store, now),
        messages=Messages(store, now),
        calls=Counter(),
        now=now,
    )
