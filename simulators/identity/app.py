"""`IdCardVerification` (version 2018-03-01) over a register that believes everyone.

A well-formed pair matches, unless
- the name says otherwise: 查无 in it means no record, 不符 a mismatch, 故障 a register that fails;
- `POST /_control/people {"name", "id_number", "verdict"}` said otherwise: a `match` makes every other name under the
  number a mismatch; `mismatch` holds for that name; `no_record`, `invalid` and `error` hold for the number.
  `verdict: null` forgets the number.

`/_control/faults` (see `simulators.faults`): `error` answers `Response.Error` with the `code` given, `result` answers
that `Result`, e.g. `-4`.
"""

import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from tornado.web import Application, HTTPError

from simulators.control import ControlHandler
from simulators.faults import Faults, FaultsHandler
from simulators.store import Store
from simulators.tencent_cloud import TencentHandler, read_keys, require_text

_DESCRIPTIONS = {
    "0": "姓名和身份证号一致",
    "-1": "姓名和身份证号不一致",
    "-2": "非法身份证号",
    "-3": "非法姓名",
    "-4": "证件库服务异常",
    "-5": "证件库中无此身份证记录",
    "-6": "权威比对系统升级中，请稍后再试",
    "-7": "认证次数超过当日限制",
}
_RESULTS = {"match": "0", "mismatch": "-1", "invalid": "-2", "error": "-4", "no_record": "-5"}
_CONVENTIONS = {"查无": "-5", "不符": "-1", "故障": "-4"}

_NAME = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff][\u3400-\u9fff\U00020000-\U0003ffff·]{1,29}")
_NUMBER = re.compile(r"\d{17}[\dX]", re.ASCII)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def is_number(text: str) -> bool:
    """Whether length, birth date and check character hold (GB 11643)."""
    if not _NUMBER.fullmatch(text):
        return False
    try:
        datetime.strptime(text[6:14], "%Y%m%d")
    except ValueError:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], _WEIGHTS, strict=True))
    return text[17] == "10X98765432"[total % 11]


class IdCardVerificationHandler(TencentHandler):
    """The action itself."""

    service = "faceid"
    version = "2018-03-01"
    action = "IdCardVerification"

    def respond(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Result and description."""
        result = self._result(require_text(parameters, "Name"), require_text(parameters, "IdCard"))
        return {"Result": result, "Description": _DESCRIPTIONS.get(result, "")}

    def _result(self, name: str, number: str) -> str:
        if self.fault is not None and self.fault["fault"] == "result":
            return str(self.fault["code"])
        if not is_number(number):
            return "-2"
        if not _NAME.fullmatch(name):
            return "-3"
        for word, result in _CONVENTIONS.items():
            if word in name:
                return result
        store: Store = self.settings["store"]
        person = store.latest("person", number)
        return "0" if person is None else _known(person, name)


def _known(person: dict[str, Any], name: str) -> str:
    match person["verdict"]:
        case "match":
            return "0" if person["name"] == name else "-1"
        case "mismatch":
            return "-1" if person["name"] == name else "0"
        case verdict:
            return _RESULTS[verdict]


class PeopleHandler(ControlHandler):
    """The register."""

    def post(self) -> None:
        """Set what is answered about a number."""
        body = self.body()
        name, number, verdict = body.get("name"), body.get("id_number"), body.get("verdict")
        if not isinstance(name, str) or not isinstance(number, str):
            raise HTTPError(400, reason="name and id_number are wanted")
        store: Store = self.settings["store"]
        if verdict is None:
            store.remove("person", number)
        elif verdict in _RESULTS:
            store.replace("person", number, self.settings["now"](), {"name": name, "verdict": verdict})
        else:
            raise HTTPError(400, reason=f"verdict is null or one of {', '.join(sorted(_RESULTS))}")
        self.set_status(204)


def make_app(state_dir: Path, keys_dir: Path, *, now: Callable[[], float] = time.time) -> Application:
    """The simulator; keys in `tencent.json`, shared with text messages, people in `identity.sqlite3`."""
    store = Store(state_dir / "identity.sqlite3")
    return Application(
        [
            (r"/", IdCardVerificationHandler),
            (r"/_control/people", PeopleHandler),
            (r"/_control/faults", FaultsHandler),
        ],
        store=store,
        stop=store.stop,
        faults=Faults(store, frozenset({"error", "result"})),
        keys=read_keys(keys_dir),
        now=now,
    )
