"""The quick checks are the schemas: what one takes the other takes, to the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from im import arguments, schemas
from im.schemas import EMOJI, SEQ_HIGH

VISIT = "01KAQ0000000000000000000ZZ"
PAIRS = {
    "nothing": (arguments.nothing, schemas.Nothing()),
    "room": (arguments.room, schemas.Room()),
    "line": (arguments.line, schemas.Line()),
    "send": (arguments.send, schemas.Send()),
}

id_like = st.sampled_from([VISIT, VISIT.lower(), VISIT + "\n", VISIT[:-1], "", "01KAQ0000000000000000000ZU"])
typed = st.text(alphabet="a汉🙂 \n\t\r\x00\x0b\x1f\x7f\ud800\u3000", max_size=8)
texts = typed | st.sampled_from(["x" * 4_000, "x" * 4_001, " " + "汉" * 4_000 + " "])
oddities = st.none() | st.booleans() | st.integers() | st.floats() | st.just([]) | st.just({}) | texts
numbers = st.sampled_from([0, 1, 2, SEQ_HIGH, SEQ_HIGH + 1, -1, 1.0, True, "1"])
bodies = st.one_of(
    st.fixed_dictionaries({"text": texts}),
    st.fixed_dictionaries({"code": st.sampled_from([*sorted(EMOJI)[:3], "none"])}),
    st.fixed_dictionaries({"media": id_like}),
    st.dictionaries(st.sampled_from(["text", "code", "media", "more"]), oddities, max_size=2),
)
kinds = st.sampled_from(["text", "image", "video", "emoji", "system", "card", "voice"])
args = st.fixed_dictionaries(
    {},
    optional={
        "conversation": id_like | oddities,
        "seq": numbers | oddities,
        "kind": kinds | oddities,
        "body": bodies | oddities,
        "more": oddities,
    },
)
sends = st.fixed_dictionaries({"conversation": id_like, "kind": kinds, "body": bodies})
lines = st.fixed_dictionaries({"conversation": id_like, "seq": numbers})


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=300, deadline=None)
@given(given_args=args | sends | lines)
def test_a_quick_check_and_its_schema_agree(name, given_args):
    check, schema = PAIRS[name]
    quick = check(given_args)
    try:
        loaded = schema.load(given_args)
    except ValidationError:
        assert quick is None
    else:
        assert quick == loaded
