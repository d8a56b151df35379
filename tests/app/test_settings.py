import base64
import json
import os
from dataclasses import fields

import pytest

from app.settings import BadSettings, describe, key_of, keys_of, part_of, read, turn_of, vendor_file
from core.context import Turn
from core.policy import Policy

KEY = base64.b64encode(b"k" * 32).decode()
SECRET = base64.b64encode(b"a secret nobody may read in logs").decode()
GIVEN = {
    "MONGO_URI": "mongodb://127.0.0.1:27017/?replicaSet=rs0",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "TOKEN_KEYS": json.dumps({"t1": KEY, "t2": SECRET}),
    "TOKEN_KEY": "t2",
    "FIELD_KEYS": json.dumps({"f1": KEY}),
    "FIELD_KEY": "f1",
    "BLIND_INDEX_KEY": KEY,
    "CODE_KEY": KEY,
    "LINK_KEY": KEY,
    "WECHAT_PAY_FILE": "/keys/wechat_pay.json",
    "WECHAT_FILE": "/keys/wechat.json",
    "TENCENT_FILE": "/keys/tencent.json",
}
PRODUCTION = {
    "PRODUCTION": "true",
    "PUBLIC_URL": "https://hospital.example",
    "PROXY_HEADERS": "true",
    "STAFF_SECOND_FACTOR": "required",
}


@pytest.fixture
def given(monkeypatch):
    """The environment holds these and nothing else; returns a function that changes it (None takes away)."""
    for name in os.environ:
        monkeypatch.delenv(name)

    def change(**names: str | None) -> None:
        for name, value in names.items():
            if value is None:
                monkeypatch.delenv(name)
            else:
                monkeypatch.setenv(name, value)

    change(**GIVEN)
    return change


def refusal() -> str:
    with pytest.raises(BadSettings) as refused:
        read()
    said = str(refused.value)
    assert "\n" not in said
    assert SECRET not in said
    return said


def test_what_is_given_is_read_and_the_rest_has_its_default(given):
    given(LISTEN_PORT="9000", PROXY_HEADERS="true", VISIT_UNPAID_SECONDS="60", PATH="/bin", HOME="/root")
    settings = read()
    assert (settings.listen_port, settings.proxy_headers, settings.listen_host) == (9000, True, "127.0.0.1")
    assert (settings.mongo_uri, settings.mongo_database) == (GIVEN["MONGO_URI"], "internet_hospital")
    assert (settings.policy.visit_unpaid_seconds, settings.policy.visit_silent_seconds) == (60, 48 * 3600)
    assert keys_of(settings, "token_keys") == {"t1": b"k" * 32, "t2": b"a secret nobody may read in logs"}
    assert key_of(settings, "link_key") == b"k" * 32


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_what_has_no_default_must_be_given(given, name):
    given(**{name: None})
    assert name in refusal()
    given(**{name: ""})
    assert name in refusal()


@pytest.mark.parametrize("name", ["MONGO_URL", "VISIT_UNPAID_MINUTES", "SMS_APP", "LISTEN_ADDRESS", "RETAIN_YEARS"])
def test_a_misspelt_name_of_ours_stops_the_start(given, name):
    given(**{name: "1"})
    assert refusal() == f"unknown setting {name}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTEN_PORT", "many"),
        ("LISTEN_PORT", "65536"),
        ("LISTEN_PORT", "-1"),
        ("PRODUCTION", "perhaps"),
        ("MONGO_DRIVER", "sqlite"),
        ("LOG_LEVEL", "loud"),
        ("STAFF_SECOND_FACTOR", "sometimes"),
        ("PUBLIC_URL", "hospital.example"),
        ("PUBLIC_URL", "https://hospital.example/"),
        ("VISIT_UNPAID_SECONDS", "soon"),
        ("VISIT_UNPAID_SECONDS", ""),
        ("MONGO_URI", "mongodb://h/?w=1"),
        ("MONGO_URI", "mongodb://h/?journal=false"),
    ],
)
def test_a_bad_value_stops_the_start(given, name, value):
    given(**{name: value})
    assert name in refusal()


@pytest.mark.parametrize("rule", fields(Policy), ids=lambda rule: rule.name)
def test_a_rule_out_of_its_bounds_stops_the_start(given, rule):
    name, low, high = rule.name.upper(), rule.metadata["low"], rule.metadata["high"]
    for value in (low - 1, high + 1):
        given(**{name: str(value)})
        assert refusal() == f"{name} must lie between {low} and {high}"
    given(**{name: str(low), "CONSULT_FEE_LOW": "0"})
    assert getattr(read().policy, rule.name) == low


def test_fees_that_contradict_each_other_stop_the_start(given):
    given(CONSULT_FEE_LOW="200", CONSULT_FEE_HIGH="100")
    assert refusal() == "CONSULT_FEE_LOW must not lie above CONSULT_FEE_HIGH"


@pytest.mark.parametrize("name", ["TOKEN_KEYS", "FIELD_KEYS"])
@pytest.mark.parametrize(
    "value",
    [
        "not json",
        "[]",
        '"text"',
        "{}",
        '{"k": 1}',
        '{"k": "not base64!"}',
        '{"k": "c2hvcnQ="}',
        json.dumps({"a.b": KEY}),
        json.dumps({"": KEY}),
    ],
)
def test_keys_that_are_none_stop_the_start(given, name, value):
    given(**{name: value})
    assert name in refusal()


@pytest.mark.parametrize("name", ["BLIND_INDEX_KEY", "CODE_KEY", "LINK_KEY"])
@pytest.mark.parametrize("value", ["not base64!", "c2hvcnQ=", "钥匙"])
def test_a_key_that_is_none_stops_the_start(given, name, value):
    given(**{name: value})
    assert name in refusal()


@pytest.mark.parametrize("name", ["TOKEN_KEY", "FIELD_KEY"])
def test_the_key_in_use_must_be_among_the_keys(given, name):
    given(**{name: "another"})
    assert refusal() == f"{name}S has no key another"


def test_production_starts_with_its_own_keys_and_safe_links(given):
    given(**PRODUCTION)
    assert read().production


DEMO_TOKENS = {"TOKEN_KEY": "demo-token-1", "TOKEN_KEYS": json.dumps({"demo-token-1": KEY})}
DEMO_FIELDS = {"FIELD_KEY": "demo-field-1", "FIELD_KEYS": json.dumps({"demo-field-1": KEY})}
# What a demonstration may have, and the line by which production refuses it.
REFUSED_IN_PRODUCTION = [
    (DEMO_TOKENS, "TOKEN_KEYS holds a demo key; production needs its own"),
    (
        {"TOKEN_KEYS": json.dumps({"t2": KEY, "demo-token-1": SECRET})},
        "TOKEN_KEYS holds a demo key; production needs its own",
    ),
    (DEMO_FIELDS, "FIELD_KEYS holds a demo key; production needs its own"),
    (
        {"MONGO_URI": "mongodb://127.0.0.1/?retryWrites=false"},
        "MONGO_URI weakens durability; it must say retrywrites=true",
    ),
    ({"PUBLIC_URL": "http://hospital.example"}, "PUBLIC_URL must be https in production"),
    ({"WECHAT_PAY_URL": "http://127.0.0.1:9001"}, "WECHAT_PAY_URL must be https in production"),
    ({"WECHAT_URL": "http://127.0.0.1:9001"}, "WECHAT_URL must be https in production"),
    ({"SMS_URL": "http://127.0.0.1:9001"}, "SMS_URL must be https in production"),
    ({"IDENTITY_URL": "http://127.0.0.1:9001"}, "IDENTITY_URL must be https in production"),
    (
        {"PROXY_HEADERS": "false"},
        "PROXY_HEADERS must be true in production: TLS ends at the proxy, which tells who asks",
    ),
    ({"STAFF_SECOND_FACTOR": "optional"}, "STAFF_SECOND_FACTOR must be required in production"),
]


@pytest.mark.rule("R6-4")
@pytest.mark.parametrize(("changes", "said"), REFUSED_IN_PRODUCTION, ids=lambda given: str(given)[:40])
def test_production_refuses_what_a_demonstration_may_have(given, changes, said):
    given(**changes)
    assert not read().production
    given(**PRODUCTION | changes)
    assert refusal() == said


@pytest.mark.parametrize("weak", ["w=1", "w=0", "journal=false", "w=1&journal=false"])
def test_a_write_that_may_be_lost_is_refused_in_production_and_everywhere_else(given, weak):
    given(MONGO_URI=f"mongodb://h/?replicaSet=rs0&{weak}")
    assert refusal().startswith("MONGO_URI weakens durability; it must say ")
    given(**PRODUCTION)
    assert refusal().startswith("MONGO_URI weakens durability; it must say ")


def test_production_tells_everything_that_is_wrong_at_once(given):
    wrong = {name: value for changes, _ in REFUSED_IN_PRODUCTION for name, value in changes.items()}
    given(**PRODUCTION | wrong | DEMO_TOKENS)
    assert refusal() == "; ".join(dict.fromkeys(said for _, said in REFUSED_IN_PRODUCTION))


def test_secrets_do_not_show_when_settings_are_printed(given):
    shown = repr(read())
    for name in ("MONGO_URI", "REDIS_URL", "BLIND_INDEX_KEY", "TOKEN_KEYS"):
        assert GIVEN[name] not in shown
    assert SECRET not in shown
    assert "listen_port=8080" in shown


def test_every_setting_is_described_once_and_secrets_have_no_default(given):
    rows = describe()
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    assert set(GIVEN) == {row["name"] for row in rows if row["default"] == "required"}
    assert {rule.name.upper() for rule in fields(Policy)} <= set(names)
    assert all(row["meaning"] for row in rows)
    assert [row["name"] for row in rows if row["bounds"] == "secret" and row["default"] != "required"] == [
        "TURN_SECRET"  # none without a relay; `turn_of` asks for it with one
    ]
    [unpaid] = [row for row in rows if row["name"] == "VISIT_UNPAID_SECONDS"]
    assert (unpaid["default"], unpaid["bounds"]) == ("900", "60 to 86400")


def test_relays_are_addresses_with_a_secret(given, monkeypatch):
    assert turn_of(read()) == Turn()
    monkeypatch.setenv("TURN_URLS", " stun:turn.example.org:3478, turn:turn.example.org:3478?transport=udp ")
    with pytest.raises(BadSettings, match="TURN_SECRET must be given with a TURN server"):
        read()
    monkeypatch.setenv("TURN_SECRET", "shared")
    urls = ("stun:turn.example.org:3478", "turn:turn.example.org:3478?transport=udp")
    assert turn_of(read()) == Turn(urls, "shared")
    assert "shared" not in repr(turn_of(read()))
    monkeypatch.setenv("TURN_URLS", "https://turn.example.org")
    with pytest.raises(BadSettings, match="TURN_URLS must hold addresses that begin with"):
        read()


def test_a_vendors_file_is_read_or_refused_by_name(tmp_path):
    file = tmp_path / "vendor.json"
    with pytest.raises(BadSettings, match="FileNotFoundError"):
        vendor_file(str(file), ())
    for content in ("{", "[]", '"id"', '{"id": 1}'):
        file.write_text(content)
        with pytest.raises(BadSettings, match=r"vendor\.json"):
            vendor_file(str(file), ("id", "secret"))
    file.write_text('{"id": 1, "secret": 2}')
    assert vendor_file(str(file), ("id", "secret")) == {"id": 1, "secret": 2}


def test_what_a_vendors_file_lacks_is_named_in_one_line():
    found = {"patient": {"templates": {"notice": {"id": "T"}}}}
    assert part_of("w.json", found, "patient", "templates", "notice", "id") == "T"
    for names, said in (
        (("staff",), "w.json lacks staff"),
        (("patient", "templates", "other", "id"), "w.json lacks patient.templates.other"),
        (("patient", "templates", "notice", "id", "x"), "w.json lacks patient.templates.notice.id.x"),
    ):
        with pytest.raises(BadSettings) as refused:
            part_of("w.json", found, *names)
        assert str(refused.value) == said
