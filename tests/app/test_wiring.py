import ast
import re
import sys
from pathlib import Path

import pytest

from app import wiring
from app.settings import BadSettings
from core.audit import ACT
from core.auth import ANYONE, ROLES
from core.http import ApiHandler, sign_of
from core.ids import new_id
from core.ports import SmsTemplate, WeChatTemplate
from im.commands import COMMANDS as CHAT_COMMANDS
from im.told import EVENTS as CHAT_EVENTS
from rtc.commands import COMMANDS as CALL_COMMANDS
from rtc.commands import EVENTS as CALL_EVENTS

ROOT = Path(__file__).parents[2]
METHODS = ("get", "post", "put", "patch", "delete", "head")
ROUTES = [*wiring.REST_ROUTES, *wiring.HEALTH_ROUTES]


def doors():
    """Every signed method of every route: its pattern, the method in capitals, and its sign."""
    for pattern, handler, *_ in ROUTES:
        for method in METHODS:
            sign = sign_of(handler, method)
            if sign is not None:
                yield pattern, method.upper(), sign


def path_of(pattern: str) -> str:
    """A path that the pattern takes."""
    for sample in ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "2026-03-01", "thumbnail"):
        path = re.sub(r"\((?:\?P<\w+>)?[^()]*\)", sample, pattern)
        if re.fullmatch(pattern, path):
            return path
    raise AssertionError(f"no sample fits {pattern}")


# --- the tables -----------------------------------------------------------------------------------------


def test_no_door_was_left_without_its_sign():
    unimplemented = ApiHandler._unimplemented_method
    forgotten = [
        (pattern, method)
        for pattern, handler, *_ in ROUTES
        if issubclass(handler, ApiHandler)
        for method in METHODS
        if getattr(handler, method) is not unimplemented and sign_of(handler, method) is None
    ]
    assert forgotten == []


def test_every_sign_names_roles_that_there_are():
    for pattern, method, sign in doors():
        assert sign.roles, (pattern, method)
        assert sign.roles == ANYONE or sign.roles <= set(ROLES), (pattern, method)


# Doors that show no record of anybody: one's own account and desk, numbers, and what the office publishes.
NO_RECORDS = {
    "/api/v1/me",
    "/api/v1/me/sessions",
    "/api/v1/desk/summary",
    "/api/v1/desk/groups",
    "/api/v1/desk/income",
    "/api/v1/desk/profile",
    "/api/v1/desk/quick-replies",
    "/api/v1/admin/consult-types",
    "/api/v1/admin/departments",
    "/api/v1/admin/consent-texts",
    "/api/v1/admin/settings",
    "/api/v1/admin/settings/history",
    "/api/v1/admin/reconciliation",
    # What is not all there yet is no record; when it is, it is read as a medium.
    "/api/v1/media/uploads/([0-9A-HJKMNP-TV-Z]{26})",
}
# Those without a login that show something of a patient all the same: the link says for whom.
BY_LINK = {"/api/v1/media/([0-9A-HJKMNP-TV-Z]{26})/content"}


@pytest.mark.rule("R5-7")
def test_every_door_that_shows_a_record_leaves_a_trace_and_only_these_do_not():
    silent = {
        pattern
        for pattern, method, sign in doors()
        if method in ("GET", "HEAD") and not sign.audits and (sign.roles != ANYONE or pattern in BY_LINK)
    }
    assert silent == NO_RECORDS


def test_a_trace_is_of_a_kind_of_thing_and_of_no_repeated_request():
    told = [(sign.audits, sign.idempotent) for _, _, sign in doors() if sign.audits]
    assert all(ACT.fullmatch(act) and not idempotent for act, idempotent in told)


def test_a_role_serves_the_routes_of_its_name():
    patterns = {role: {route[0] for route in wiring.routes_of(role)} for role in ("all", "api", "im", "rtc", "worker")}
    health = {route[0] for route in wiring.HEALTH_ROUTES}
    sockets = {route[0] for route in wiring.SOCKET_ROUTES}
    assert patterns["worker"] == patterns["rtc"] == health
    assert patterns["im"] == health | sockets
    assert patterns["all"] == patterns["api"] | sockets
    assert patterns["api"] >= {route[0] for route in wiring.REST_ROUTES} | health


def test_the_documents_of_the_whole_hospital_build():
    described = wiring.openapi()
    assert described["openapi"] == "3.1.0"
    assert len(described["paths"]) == len({path_of(pattern) for pattern, _, _ in doors()})
    asynchronous = wiring.socket_document()
    assert asynchronous["asyncapi"].startswith("3.")
    asked = {name for name, one in asynchronous["operations"].items() if one["action"] == "receive"}
    assert asked == {"hello", *CHAT_COMMANDS, *CALL_COMMANDS} == {"hello", *wiring.COMMANDS}


def test_no_two_parts_put_the_same_op_or_event_on_the_socket():
    assert len(wiring.COMMANDS) == len(CHAT_COMMANDS) + len(CALL_COMMANDS)
    assert len(wiring.EVENTS) == len(CHAT_EVENTS) + len(CALL_EVENTS)


def test_without_its_media_half_a_call_process_does_not_start(hospital, monkeypatch):
    monkeypatch.setitem(sys.modules, "rtc.room", None)
    with pytest.raises(BadSettings, match=r"this installation carries no media of calls: rtc\.room is missing"):
        wiring.media(hospital.settings)


# --- duties -----------------------------------------------------------------------------------------------


def emitted() -> set[str]:
    """The kinds of duties that the code writes: first arguments of `duty(…)`, what is `owed`, what an act `owes`."""
    found: set[str] = set()
    for file in (file for part in ("core", "rtc") for file in (ROOT / part).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            found |= {
                one.value
                for part in _parts(node)
                for one in ast.walk(part)
                if isinstance(one, ast.Constant) and isinstance(one.value, str) and re.fullmatch(r"\w+\.\w+", one.value)
            }
    return found


def _parts(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.Call):
        named = [keyword.value for keyword in node.keywords if keyword.arg in ("owes", "duties", "duty")]
        own = node.args[:1] if getattr(node.func, "id", "") == "duty" else []
        return [*named, *own]
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "owed":
        return [node.value]
    if isinstance(node, ast.Call) and getattr(getattr(node.func, "value", None), "id", "") == "owed":
        return list(node.args)
    return []


def test_every_kind_of_duty_that_is_written_has_a_runner_and_every_runner_its_duty():
    # Written under the names RETAIN, RING and CONCLUDE.
    named = emitted() | {"visit.retain_patient", "call.ring", "call.conclude"}
    assert named == set(wiring.DUTIES)


def test_no_two_features_run_the_same_kind():
    tables = (wiring.order_jobs, wiring.visit_jobs, wiring.rating_jobs, wiring.notice_jobs, wiring.call_jobs)
    assert sum(len(table.DUTIES) for table in tables) == len(wiring.DUTIES)
    assert sum(len(getattr(table, "DEADLINES", {})) for table in tables) == len(wiring.DEADLINES)


@pytest.mark.gen_test(timeout=30)
async def test_every_collection_with_deadlines_is_looked_after(hospital):
    assert set(wiring.DEADLINES) <= set(hospital.ctx.duties._repositories)


# --- who may -----------------------------------------------------------------------------------------------


def token_of(ctx, role: str, **scope) -> str:
    """A token that nobody logged in for."""
    return ctx.tokens.issue(
        account=new_id(),
        role=role,
        audience="patient" if role == "patient" else "staff",
        session=new_id(),
        epoch=0,
        now=ctx.clock.now(),
        seconds=600,
        **scope,
    )


async def refusals(hospital, closed, token=None):
    """Status and code of each of these doors, as whoever holds the token finds it."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    found = {}
    for pattern, method in closed:
        answer = await hospital.http.request(method, hospital.url + path_of(pattern), headers=headers)
        found[pattern, method] = (answer.status_code, answer.json()["code"] if method != "HEAD" else None)
    return found


def expected(closed, status, code):
    return {(pattern, method): (status, code if method != "HEAD" else None) for pattern, method in closed}


@pytest.mark.rule("R6-3")
@pytest.mark.gen_test(timeout=60)
async def test_nobody_comes_in_without_a_login_but_where_the_sign_says_anyone(hospital):
    closed = [(pattern, method) for pattern, method, sign in doors() if sign.roles != ANYONE]
    assert await refusals(hospital, closed) == expected(closed, 401, "unauthenticated")


@pytest.mark.rule("R6-3")
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.gen_test(timeout=60)
async def test_a_role_that_is_not_on_the_sign_is_refused(hospital, role):
    closed = [(pattern, method) for pattern, method, sign in doors() if sign.roles != ANYONE and role not in sign.roles]
    assert closed
    assert await refusals(hospital, closed, token_of(hospital.ctx, role)) == expected(closed, 403, "forbidden")


@pytest.mark.gen_test(timeout=60)
async def test_a_token_of_one_call_opens_no_other_door(hospital):
    for role in ("patient", "doctor"):
        closed = [
            (pattern, method)
            for pattern, method, sign in doors()
            if role in sign.roles and sign.roles != ANYONE and not sign.call_scope
        ]
        token = token_of(hospital.ctx, role, scope="call", call=new_id())
        assert await refusals(hospital, closed, token) == expected(closed, 403, "forbidden")


# --- templates of messages ----------------------------------------------------------------------------------


def test_templates_are_read_with_the_places_that_we_can_fill():
    notice = {"id": "T", "page": "p", "fields": {"thing1": "matter", "time2": "at"}}
    read = wiring._wechat_template(
        "w.json", {"staff": {"templates": {"notice": notice}}}, "staff", WeChatTemplate.NOTICE
    )
    assert (read.id, read.page, read.fields) == ("T", "p", {"thing1": "matter", "time2": "at"})
    filed = {"templates": {"login_code": {"id": "1", "parameters": ["minutes", "code"]}}}
    assert wiring._sms_template("t.json", filed, SmsTemplate.LOGIN_CODE).parameters == ("minutes", "code")


def test_a_template_that_is_missing_or_that_we_cannot_fill_is_one_line():
    unfilled = {"staff": {"templates": {"notice": {"id": "T", "page": "p", "fields": {"thing1": "name"}}}}}
    named = {"templates": {"patient_notice": {"id": "1", "parameters": ["name"]}}}
    for refuse, said in (
        (
            lambda: wiring._wechat_template("w.json", {"staff": {}}, "staff", WeChatTemplate.NOTICE),
            "w.json lacks staff.templates",
        ),
        (
            lambda: wiring._wechat_template("w.json", unfilled, "staff", WeChatTemplate.NOTICE),
            "w.json: the fields of staff.templates.notice may hold at, hint, matter",
        ),
        (
            lambda: wiring._sms_template("t.json", {"templates": {}}, SmsTemplate.STAFF_NOTICE),
            "t.json lacks templates.staff_notice",
        ),
        (
            lambda: wiring._sms_template("t.json", named, SmsTemplate.PATIENT_NOTICE),
            "t.json: the parameters of templates.patient_notice must be none",
        ),
    ):
        with pytest.raises(BadSettings) as refused:
            refuse()
        assert str(refused.value) == said


# --- the hospital as a whole --------------------------------------------------------------------------------


@pytest.mark.gen_test(timeout=30)
async def test_a_hospital_ends_in_the_reverse_order_whatever_fails():
    ended = []

    async def first():
        ended.append("first")

    async def second():
        ended.append("second")
        raise OSError("it does not end")

    async def third():
        ended.append("third")

    await wiring.Hospital(None, None, [first, second, third]).close()
    assert ended == ["third", "second", "first"]
