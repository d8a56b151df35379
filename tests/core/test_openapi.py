import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from marshmallow import Schema, fields

from core.auth import ANYONE, PATIENT
from core.errors import CODES
from core.http import ApiHandler, Limit, endpoint, sign_of
from core.openapi import METHODS, document, path_of
from core.wire import Day, Page, Time, page_of


class Thing(Schema):
    id = fields.Str(required=True)
    born = Day()
    made_at = Time(allow_none=True)


class Other:
    class Thing(Schema):
        """Another class of the same name."""

        name = fields.Str()


class ThingsHandler(ApiHandler):
    @endpoint(roles=PATIENT, summary="列表", query=Page(), answer=page_of(Thing))
    async def get(self, query: Any) -> Any:
        """All of them."""

    @endpoint(
        roles=PATIENT,
        summary="增加",
        body=Other.Thing(),
        answer=Thing(),
        status=201,
        idempotent=True,
        errors=("wrong_state",),
        limits=(Limit("things", "visits_per_hour", 3600),),
    )
    async def post(self, body: Any) -> Any:
        """One more."""


class ThingHandler(ApiHandler):
    @endpoint(roles=ANYONE, summary="删除")
    async def delete(self, thing_id: str, part: str) -> None:
        """Gone."""

    @endpoint(
        roles=ANYONE,
        summary="替换",
        reads="image/*",
        responses={
            206: {"description": "part", "content": {"image/*": {}}},
            400: {"description": "again", "content": {"application/json": {}}},
        },
    )
    async def patch(self, thing_id: str, part: str) -> None:
        """Takes bytes."""

    async def put(self) -> None:
        """Has no sign."""


ROUTES = [(r"/api/v1/things", ThingsHandler), (r"/api/v1/things/(\w+)/parts/([\w.-]+)\.json", ThingHandler)]


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    return document(ROUTES)


def test_groups_of_a_path_take_the_names_of_the_arguments(small):
    assert list(small["paths"]) == ["/api/v1/things", "/api/v1/things/{thing_id}/parts/{part}.json"]
    deleted = small["paths"]["/api/v1/things/{thing_id}/parts/{part}.json"]["delete"]
    assert [(one["name"], one["in"], one["required"]) for one in deleted["parameters"]] == [
        ("thing_id", "path", True),
        ("part", "path", True),
    ]
    assert path_of(r"/a/(?P<name>\w+)", ThingHandler) == "/a/{name}"


def test_a_method_without_a_sign_is_not_described(small):
    assert list(small["paths"]["/api/v1/things/{thing_id}/parts/{part}.json"]) == ["patch", "delete"]


def test_refusals_follow_from_the_sign(small):
    posted = small["paths"]["/api/v1/things"]["post"]
    assert {status: one["description"] for status, one in posted["responses"].items()} == {
        "201": "OK",
        "400": "malformed",
        "401": "unauthenticated",
        "403": "forbidden",
        "409": "idempotency_conflict, in_progress, wrong_state",
        "413": "too_large",
        "415": "unsupported_media",
        "422": "invalid",
        "429": "rate_limited",
        "500": "internal",
        "503": "unavailable",
    }
    deleted = small["paths"]["/api/v1/things/{thing_id}/parts/{part}.json"]["delete"]
    assert sorted(deleted["responses"]) == ["204", "400", "404", "413", "500", "503"]
    assert "content" not in deleted["responses"]["204"]
    assert (deleted["security"], posted["security"], posted["x-roles"]) == ([], [{"access_token": []}], ["patient"])


def test_a_raw_body_and_further_answers_are_told(small):
    patched = small["paths"]["/api/v1/things/{thing_id}/parts/{part}.json"]["patch"]
    assert patched["requestBody"] == {"required": True, "content": {"image/*": {"schema": {}}}}
    assert patched["responses"]["206"] == {"description": "part", "content": {"image/*": {}}}
    refused = patched["responses"]["400"]
    assert (refused["description"], list(refused["content"])) == (
        "malformed",
        ["application/problem+json", "application/json"],
    )


def test_a_key_and_a_page_are_parameters(small):
    posted, got = small["paths"]["/api/v1/things"]["post"], small["paths"]["/api/v1/things"]["get"]
    [key] = posted["parameters"]
    assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", True)
    assert {one["name"]: one["schema"]["type"] for one in got["parameters"]} == {
        "limit": "integer",
        "cursor": ["string", "null"],
    }


def test_times_and_days_say_what_they_are(small):
    properties = small["components"]["schemas"]["Thing"]["properties"]
    assert properties["born"] == {"type": "string", "format": "date"}
    assert properties["made_at"] == {"type": ["string", "null"], "format": "date-time"}


def test_two_schemas_of_one_name_stay_two(small):
    wanted = small["paths"]["/api/v1/things"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert wanted == {"$ref": "#/components/schemas/CoreThing"}
    assert set(small["components"]["schemas"]) == {"Problem", "Thing", "ThingPage", "CoreThing"}


def test_one_page_of_one_item_serves_many_lists():
    assert page_of(Thing) is page_of(Thing)
    assert type(page_of(Thing)).__module__ == Thing.__module__


# --- the whole hospital


@pytest.fixture(scope="module")
def wiring():
    from app import wiring

    return wiring


@pytest.fixture(scope="module")
def whole(wiring) -> dict[str, Any]:
    return wiring.openapi()


@pytest.fixture(scope="module")
def operations(whole) -> dict[tuple[str, str], dict[str, Any]]:
    return {(path, method): one for path, methods in whole["paths"].items() for method, one in methods.items()}


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return found + [ref for inner in node.values() for ref in references(inner)]
    return [ref for inner in node for ref in references(inner)] if isinstance(node, list) else []


def test_every_route_is_described(wiring, operations):
    signed = {
        (path_of(pattern, handler), method)
        for pattern, handler, *_ in wiring.REST_ROUTES
        for method in METHODS
        if sign_of(handler, method) is not None
    }
    assert signed
    assert signed <= set(operations)


def test_no_method_of_any_handler_lacks_its_sign(wiring):
    unimplemented = ApiHandler._unimplemented_method
    forgotten = [
        f"{handler.__name__}.{method}"
        for _, handler, *_ in wiring.routes_of("all")
        if issubclass(handler, ApiHandler)
        for method in map(str.lower, handler.SUPPORTED_METHODS)
        if getattr(handler, method) is not unimplemented and sign_of(handler, method) is None
    ]
    assert forgotten == []


def test_no_two_routes_answer_the_same_path(wiring):
    patterns = [pattern for pattern, *_ in wiring.routes_of("all")]
    assert len(set(patterns)) == len(patterns)


def test_operations_are_named_once_and_explained(operations):
    names = [one["operationId"] for one in operations.values()]
    assert len(set(names)) == len(names)
    for at, one in operations.items():
        assert re.search(r"[\u4e00-\u9fff]", one["summary"]), at
        assert one["description"], at
        assert all(one["tags"]), at


def test_every_reference_leads_somewhere(whole):
    assert references(whole)
    for reference in set(references(whole)):
        node: Any = whole
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_every_schema_is_one(whole):
    for schema in whole["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_field_says_what_it_is(whole):
    silent = [
        f"{name}.{field}"
        for name, schema in whole["components"]["schemas"].items()
        for field, one in schema.get("properties", {}).items()
        if not {"type", "$ref", "allOf", "anyOf", "oneOf"} & set(one)
    ]
    assert silent == []


def test_parameters_are_complete_and_those_of_the_path_are_there(operations):
    for at, one in operations.items():
        named = [(parameter["in"], parameter["name"]) for parameter in one["parameters"]]
        assert len(set(named)) == len(named), at
        assert {name for place, name in named if place == "path"} == set(re.findall(r"{(\w+)}", at[0])), at
        assert all("schema" in parameter for parameter in one["parameters"]), at


def test_who_must_log_in_is_told_so_and_what_may_be_refused(operations):
    for at, one in operations.items():
        refusals = set(one["responses"])
        assert {"400", "500", "503"} <= refusals, at
        if one["security"]:
            assert {"401", "403"} <= refusals, at
            assert one["x-roles"], at
        if "requestBody" in one and "application/json" in one["requestBody"]["content"]:
            assert {"413", "415", "422"} <= refusals, at
        if "{" in at[0]:
            assert "404" in refusals, at


def test_refusals_are_problems_with_documented_codes(operations):
    for at, one in operations.items():
        for status, answer in one["responses"].items():
            if status < "400":
                continue
            types = set(answer["content"])
            if "/notify/" in at[0]:  # the gateway reads no problem details
                types.discard("application/json")
            assert types <= {"application/problem+json"}, at
            assert {CODES[code].status for code in answer["description"].split(", ")} == {int(status)}, at


@pytest.mark.parametrize(
    "made", ["post /api/v1/visits", "post /api/v1/orders/{order_id}/payment", "post /api/v1/visits/{visit_id}/refund"]
)
def test_what_makes_visits_payments_and_refunds_asks_for_a_key(operations, made):
    method, _, path = made.partition(" ")
    named = [parameter["name"] for parameter in operations[path, method]["parameters"]]
    assert "Idempotency-Key" in named


def test_whole_numbers_that_are_sent_are_bounded(operations, whole):
    """A store keeps 64 bits; an answer of 422 is better than a failure there."""
    sent = [
        one["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for one in operations.values()
        if "application/json" in one.get("requestBody", {}).get("content", {})
    ]
    unbounded = [
        f"{ref} {field}"
        for ref in sent
        for field, one in whole["components"]["schemas"][ref.rpartition("/")[2]]["properties"].items()
        if one.get("type") == "integer" and not {"minimum", "enum"} & set(one)
    ]
    assert unbounded == []
