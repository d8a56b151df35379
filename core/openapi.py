"""The OpenAPI 3.1 document, read off the signs of the handlers (`core/http.py`).

Nothing is described twice: paths come from the routes, shapes from the schemas, refusals from `core.errors.CODES`.
"""

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from core.auth import ANYONE
from core.errors import CODES
from core.http import Endpoint, sign_of
from core.wire import Day, Time

METHODS: Final = ("get", "post", "put", "patch", "delete", "head", "options")
Routes = Iterable[tuple[str, type, *tuple[Any, ...]]]

_GROUP = re.compile(r"\((?:\?P<(\w+)>)?[^()]*\)")


def document(routes: Routes) -> dict[str, Any]:
    """The whole document; a method without a sign is not in it, and not reachable either."""
    marshmallow: Any = MarshmallowPlugin(schema_name_resolver=_namer())
    spec = APISpec(
        title="互联网医院",
        version="1",
        openapi_version="3.1.0",
        info={"description": "REST interface of the internet hospital. Money in fen, times RFC 3339 UTC."},
        plugins=[marshmallow],
    )
    marshmallow.map_to_openapi_type(Time, "string", "date-time")
    marshmallow.map_to_openapi_type(Day, "string", "date")
    spec.components.security_scheme("access_token", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    spec.components.schema("Problem", dict(PROBLEM))
    for pattern, handler, *_ in routes:
        operations: dict[str, Any] = {}
        for method in METHODS:
            sign = sign_of(handler, method)
            if sign is not None:
                operations[method] = _operation(handler, method, sign, pattern)
        if operations:
            spec.path(path=path_of(pattern, handler), operations=operations)
    described: dict[str, Any] = spec.to_dict()
    return described


PROBLEM: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "RFC 9457 problem details",
    "required": ["type", "title", "status", "detail", "code", "errors", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": sorted(CODES)},
        "errors": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        "request_id": {"type": "string"},
    },
}


def path_of(pattern: str, handler: type) -> str:
    """`/api/v1/visits/(\\w+)` as `/api/v1/visits/{visit_id}`: groups take the names of the method's arguments."""
    names = iter(_path_names(handler))
    return _GROUP.sub(lambda match: "{" + (match.group(1) or next(names)) + "}", pattern).replace("\\", "")


def _path_names(handler: type) -> list[str]:
    for method in METHODS:
        if sign_of(handler, method) is not None:
            arguments = inspect.signature(getattr(handler, method)).parameters
            return [name for name in arguments if name not in ("self", "body", "query")]
    return []


def _operation(handler: type, method: str, sign: Endpoint, pattern: str) -> dict[str, Any]:
    function = getattr(handler, method)
    operation: dict[str, Any] = {
        "operationId": "_".join([method, *re.findall(r"\w+", path_of(pattern, handler).removeprefix("/api/v1/"))]),
        "summary": sign.summary,
        "description": inspect.getdoc(function) or "",
        "tags": [_tag(pattern)],
        "parameters": _parameters(handler, sign, pattern),
        "responses": _responses(sign, method, at_id="{" in path_of(pattern, handler)),
    }
    if sign.roles == ANYONE:
        operation["security"] = []
    else:
        operation["security"] = [{"access_token": []}]
        operation["x-roles"] = sorted(sign.roles)
    if sign.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": sign.body}}}
    elif sign.reads:
        operation["requestBody"] = {"required": True, "content": {sign.reads: {"schema": {}}}}
    return operation


def _parameters(handler: type, sign: Endpoint, pattern: str) -> list[Any]:
    names = re.findall(r"{(\w+)}", path_of(pattern, handler))
    parameters: list[Any] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    if sign.query is not None:
        parameters.append({"in": "query", "schema": sign.query})
    if sign.idempotent:
        key = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": True, "schema": key})
    return [*parameters, *sign.parameters]


def _responses(sign: Endpoint, method: str, *, at_id: bool) -> dict[str, Any]:
    status = (
        204 if sign.answer is None and sign.status == 200 and sign.media_type == "application/json" else sign.status
    )
    good: dict[str, Any] = {"description": "OK"}
    if sign.answer is not None:
        good["content"] = {"application/json": {"schema": sign.answer}}
    elif sign.media_type != "application/json":
        good["content"] = {sign.media_type: {"schema": {"type": "string"}}}
    responses: dict[str, Any] = {str(status): good}
    codes = defaultdict(list)
    for code in sorted({*sign.errors, *_common_errors(sign, method), *(["not_found"] if at_id else [])}):
        codes[CODES[code].status].append(code)
    for refused, names in sorted(codes.items()):
        responses[str(refused)] = {
            "description": ", ".join(names),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if refused in (429, 503):
            responses[str(refused)]["headers"] = {"Retry-After": {"description": "s", "schema": {"type": "integer"}}}
    for further, said in sign.responses.items():
        known = responses.setdefault(str(further), {"description": ""})
        content = {**known.get("content", {}), **said.get("content", {})}
        known |= {**said, "description": known["description"] or said["description"]}
        known |= {"content": content} if content else {}
    return responses


def _common_errors(sign: Endpoint, method: str) -> set[str]:
    common = {"unavailable", "internal", "malformed"}
    if method not in ("get", "head"):  # a body that nobody asked for is measured all the same
        common |= {"too_large"}
    if sign.roles != ANYONE:
        common |= {"unauthenticated", "forbidden"}
    if sign.body is not None:
        common |= {"invalid", "unsupported_media"}
    if sign.query is not None:
        common |= {"invalid"}
    if sign.idempotent:
        common |= {"invalid", "idempotency_conflict", "in_progress"}
    if sign.limits:
        common |= {"rate_limited"}
    return common


def _tag(pattern: str) -> str:
    return pattern.removeprefix("/api/v1/").split("/")[0] if pattern.startswith("/api/v1/") else "operations"


def _namer() -> Callable[[Any], str]:
    """Names schemas by their class; of two classes of one name, the second is named by its feature as well."""
    taken: dict[str, type] = {}

    def name_of(schema: Any) -> str:
        kind = type(schema) if isinstance(schema, Schema) else schema
        name = str(kind.__name__)
        if taken.setdefault(name, kind) is kind:
            return name
        return kind.__module__.split(".")[1].capitalize() + name

    return name_of
