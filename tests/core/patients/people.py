"""People to be patients: invented, with valid numbers."""

import itertools
from datetime import date
from typing import Any

from tests.core.patients.test_rules import resident_id

_sequence = itertools.count(1)


def form_of(born: date = date(1988, 2, 15), **changes: Any) -> dict[str, str]:
    """Body of POST /patients; every call is another man."""
    sequence = next(_sequence) * 2 - 1
    return {
        "name": "张小三",
        "id_type": "01",
        "id_number": resident_id(born, sequence % 1000, f"11{sequence // 1000:04}"),
        "gender": "1",
        "birth_date": born.isoformat(),
        "phone": "13800001234",
        "relation": "other",
    } | changes


def guardian_of(born: date = date(1988, 2, 15), **changes: Any) -> dict[str, str]:
    """Body of PUT /patients/{id}/guardian."""
    form = form_of(born, name="李四", relation="father")
    return {name: form[name] for name in ("name", "id_type", "id_number", "phone", "relation")} | changes


CHILD_BORN = date(2018, 6, 1)
