"""Bodies, queries and arguments with a marker in every text field, made by walking the schemas.

A field that is new tomorrow is marked tomorrow: nothing here names the fields of a feature, but for texts whose form is
prescribed, which need a sample of it.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, Final

from marshmallow import Schema, fields, validate

from core.wire import Day
from scripts.story import valid_id_number
from tests.abuse.listening import Secrets
from tests.people import new_phone

# What a text must look like, by the name of its field, where its form is prescribed: those nobody may read in a log …
SECRET_FORMS: Final[Mapping[str, Callable[[], str]]] = {
    "phone": new_phone,
    "id_number": lambda: valid_id_number("19610512", secrets.randbelow(499) * 2 + 1),
    "account": lambda: f"u{secrets.token_hex(8)}",
    "signature": lambda: secrets.token_hex(16),
}
# … and those that say nothing of anybody, or are too short to be looked for: six digits are in many a line.
FORMS: Final[Mapping[str, str]] = {
    "code": "000000",
    "version": "7.7",
    "cursor": "0" * 26,
    "cursors": "0" * 26,
    "status": "waiting",
    "parent": "110000",
    "conversation": "0" * 26,
    "call": "0" * 26,
    "actor": "system",
    "act": "visit.read",
    "subject": "visit:0",
    "variant": "film",
    "media": "0" * 26,
    "device": "marked",
}
DAY: Final = "2001-01-01"
SPAN: Final[Mapping[str, str]] = {"from": f"{DAY}T00:00:00Z", "to": f"{DAY}T23:59:59Z"}
# Choices on which it depends what else may be said.
CHOICES: Final = ("audience", "method")


def texts_of(schema: Schema, place: str = "") -> Iterator[tuple[str, fields.Field[Any]]]:
    """Every text field of a schema, with its path: `condition.history`, `skills`."""
    for name, one in schema.fields.items():
        yield from _texts(one, f"{place}{one.data_key or name}")


def _texts(one: fields.Field[Any], path: str) -> Iterator[tuple[str, fields.Field[Any]]]:
    if isinstance(one, fields.Nested):
        yield from texts_of(one.schema, f"{path}.")
    elif isinstance(one, fields.List):
        yield from _texts(one.inner, path)
    elif isinstance(one, fields.String):
        yield path, one


def is_free(one: fields.Field[Any]) -> bool:
    """Whether people write into it what they like."""
    return not any(isinstance(rule, validate.OneOf | validate.Regexp) for rule in one.validators)


class Marker:
    """Makes bodies for one schema. `marks` gets every marker under the name of the door and the path of its field."""

    def __init__(self, schema: Schema, door: str, marks: Secrets) -> None:
        self.schema = schema
        self.door = door
        self.marks = marks

    def everywhere(self) -> dict[str, Any]:
        """A marker in every field of whatever kind, and an unknown field with one: refused, mostly."""
        body = {
            one.data_key or name: [self._word(name)] if isinstance(one, fields.List) else self._word(name)
            for name, one in self.schema.fields.items()
        }
        return body | {secrets.token_hex(4): self._word("unknown")}

    def proper(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Bodies that pass the schema, with a marker in every free text: one for all of `CHOICES` that go together.

        `given` are values that the service must know for the body to get further than the door.
        """
        named = {name: self._choices(name) for name in CHOICES if name in self.schema.fields}
        bodies = []
        for chosen in product(*named.values()):
            body = self._nested(self.schema, "") | given | dict(zip(named, chosen, strict=True))
            self._leave_out_what_does_not_fit(body)
            if not self.schema.validate(body):
                bodies.append(body)
        bodies += self._with_each_left_out(bodies)
        assert bodies, (self.door, self.schema.validate(body))
        return bodies

    def _with_each_left_out(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """For each field that went with no other, a body of it and of what is required."""
        sent = {name for body in bodies for name in body}
        whole = self._nested(self.schema, "")
        needed = {name: value for name, value in whole.items() if self._is_required(name)}
        alone = [needed | {name: value} for name, value in whole.items() if name not in sent]
        return [body for body in alone if not self.schema.validate(body)]

    def _choices(self, name: str) -> list[Any]:
        rules = self.schema.fields[name].validators
        return next(list(rule.choices) for rule in rules if isinstance(rule, validate.OneOf))

    def _leave_out_what_does_not_fit(self, body: dict[str, Any]) -> None:
        for _ in body.copy():
            faults = self.schema.validate(body)
            name = next((name for name in faults if name in body and not self._is_required(name)), None)
            if name is None:
                return
            del body[name]

    def _is_required(self, name: str) -> bool:
        return any(one.required for key, one in self.schema.fields.items() if (one.data_key or key) == name)

    def _nested(self, schema: Schema, place: str) -> dict[str, Any]:
        return {
            one.data_key or name: self._value(one, one.data_key or name, place) for name, one in schema.fields.items()
        }

    def _value(self, one: fields.Field[Any], name: str, place: str) -> Any:
        path = f"{place}{name}"
        if isinstance(one, fields.Nested):
            inner = self._nested(one.schema, f"{path}.")
            return [inner] if one.many else inner
        if isinstance(one, fields.List):
            return [self._value(one.inner, name, place)]
        if isinstance(one, fields.String):
            return self._text(one, name, path)
        if isinstance(one, Day):
            return DAY
        if isinstance(one, fields.AwareDateTime):
            return SPAN.get(name, 1)
        if isinstance(one, fields.Boolean):
            return True
        if isinstance(one, fields.Dict):
            return {} if one.key_field is None else {self._value(one.key_field, name, place): 1}
        return 1

    def _text(self, one: fields.Field[Any], name: str, path: str) -> str:
        for rule in one.validators:
            if isinstance(rule, validate.OneOf):
                return str(next(iter(rule.choices)))
        if name in SECRET_FORMS:
            return self.marks.keep(f"{self.door} {path}", SECRET_FORMS[name]())
        if not is_free(one):
            return FORMS[name]
        longest = min(
            (rule.max for rule in one.validators if isinstance(rule, validate.Length) and rule.max), default=64
        )
        return self.marks.keep(f"{self.door} {path}", f"密{secrets.token_hex(6)}"[:longest])

    def _word(self, name: str) -> str:
        return self.marks.word(f"{self.door} {name} everywhere")
