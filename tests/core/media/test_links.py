from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from core.media.links import Grant, is_genuine, signature, url

KEY = b"k" * 32
GRANT = Grant("01JABCDEFGHJKMNPQRSTVWXYZ0", "original", "01JACCOUNT", 2_000_000_000)


def test_a_link_carries_its_grant_and_is_genuine():
    parts = urlsplit(url(GRANT, KEY))
    query = dict(parse_qsl(parts.query))
    assert parts.path == f"/api/v1/media/{GRANT.id}/content"
    assert {name: query[name] for name in ("variant", "account", "expires")} == {
        "variant": "original",
        "account": "01JACCOUNT",
        "expires": "2000000000",
    }
    assert is_genuine(GRANT, query["signature"], KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "01JOTHER"},
        {"kind": "recording"},
        {"variant": "thumbnail"},
        {"account": "01JOTHER"},
        {"expires": GRANT.expires + 1},
    ],
)
def test_no_part_of_a_link_can_be_changed(change):
    assert not is_genuine(replace(GRANT, **change), signature(GRANT, KEY), KEY)


@pytest.mark.parametrize("given", ["", "x", "ü", signature(GRANT, b"o" * 32)])
def test_a_signature_that_is_not_ours_is_false(given):
    assert not is_genuine(GRANT, given, KEY)
