import pytest
from marshmallow import Schema, fields

from core.commands import Command
from core.errors import Invalid


class Said(Schema):
    """What the op takes."""

    text = fields.Str(required=True)


def op(**changes):
    given = {"roles": frozenset({"patient"}), "summary": "", "args": Said(), "answer": Schema()}
    return Command(**given | {"run": lambda chat, session, request, args: {}} | changes)


def test_arguments_are_loaded_by_the_schema_unless_the_quick_check_takes_them():
    assert op().load({"text": "x"}) == {"text": "x"}
    quick = op(check=lambda args: {"text": "quick"} if args == {"text": "x"} else None)
    assert [quick.load({"text": text}) for text in ("x", "y")] == [{"text": "quick"}, {"text": "y"}]


def test_what_the_schema_refuses_is_invalid():
    for wrong in ({}, {"text": 1}, {"text": "x", "more": 1}):
        with pytest.raises(Invalid):
            op().load(wrong)
