import re
from typing import get_args

import pytest
from prometheus_client import REGISTRY

from app import wiring
from core import metrics
from core.accounts.login import METHODS
from core.errors import CODES
from core.media.frames import Why
from core.media.signatures import TYPES
from im.frames import Close
from scripts.acting import Refused
from scripts.story import picture
from storage.calls import LegState, Reason, Status
from storage.messages import Outcome
from tests.people import DOCTOR, in_progress

HTTP_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"}
OUTCOMES = {"ok", "refused", "unavailable", "failed", "done", "later", "dead", "taken", "bad", "slow", "ready"}
NOTICED = {"sent", "unknown", "rejected", "not_sent", "not_allowed", "no_phone"}
CALLED = {"away", "answered", "elsewhere", "unrecordable", "given_up", "overtaken"}
WORKSHOP = {"kept", "failed", *get_args(Why)}
# What the values of a label are taken from. Ids or texts here would make a series for each patient.
VALUES = {
    "handler": {route[1].__name__ for route in wiring.routes_of("all")} | {"UnknownPathHandler"},
    "method": {*HTTP_METHODS, *METHODS, "second_factor"},
    "status": {str(status) for status in range(100, 600)},
    "kind": {*wiring.DUTIES},
    "outcome": {*OUTCOMES, *CODES, *WORKSHOP, *NOTICED, *CALLED, "abandoned"},
    "channel": {"subscribe", "sms"},
    "collection": set(wiring.DEADLINES),
    "limit": {
        *("auth.login", "auth.codes", "auth.codes.phone", "login.unknown"),
        *("visit.create", "media.upload", "identity_checks"),
        *("chat.messages", "chat.frames", "chat.accepts"),
    },
    "subject": {"payment", "refund"},
    "system": {"wechat_pay", "wechat_login", "sms", "faceid"},
    "action": {
        *("prepay", "query", "close", "refund", "query_refund", "abnormal_refund", "bill", "download_bill"),
        *("/sns/jscode2session", "/wxa/business/getuserphonenumber", "/cgi-bin/stable_token"),
        "/cgi-bin/message/subscribe/send",
        *("SendSms", "IdCardVerification"),
    },
    "op": {*wiring.COMMANDS, "hello", "unknown"},
    "code": {str(int(code)) for code in Close},
    "direction": {"in", "out"},
    "dup": {"no", "yes"},
    "reason": {*(outcome.value for outcome in Outcome), *get_args(Reason)},
    "state": {*get_args(Status), *get_args(LegState)},
    "type": set(TYPES),
    "why": WORKSHOP,
    "what": {"received", "sent", "refused", "dropped"},
}
OF_LIBRARIES = ("python_", "process_")


def ours():
    return [one for one in vars(metrics).values() if hasattr(one, "_labelnames")]


def series() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All that is counted by now, by name and labels; buckets and the times of their making left out."""
    samples = [sample for one in REGISTRY.collect() if not one.name.startswith(OF_LIBRARIES) for sample in one.samples]
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for one in samples
        if "le" not in one.labels and not one.name.endswith("_created")
    }


def test_every_label_takes_its_values_from_a_table():
    collectors = {id(one): one for one in REGISTRY._names_to_collectors.values()}
    labelled = [one for one in collectors.values() if getattr(one, "_labelnames", ())]
    assert ours()
    assert {label for one in labelled for label in one._labelnames} <= VALUES.keys()


def test_everything_counted_is_registered_once_and_documented():
    names = [one._name for one in ours()]
    assert len(set(names)) == len(names)
    assert set(names) <= {found.name for found in REGISTRY.collect()}
    assert all(one._documentation for one in ours())


@pytest.mark.gen_test(timeout=60)
async def test_a_consultation_with_its_mistakes_is_counted_under_names_from_our_tables_alone(hospital):
    before = series()
    stage = await in_progress(hospital)
    await stage.lines["patient"].say(stage.found["visit"]["id"], "您好")
    stranger = hospital.person()
    with pytest.raises(Refused, match="bad_credentials"):
        await stranger.login_by_password(DOCTOR, "not-the-password-1")
    await stage.doctor.login_by_password(DOCTOR, stage.doctor_password)
    with pytest.raises(Refused, match="unsupported_media"):
        await stage.patient.upload(b"no picture at all", "image/jpeg")
    await stage.patient.upload(picture(8, 8), "image/jpeg")
    assert (await stranger.send("POST", "/notify/wechat-pay", content=b"{}")).status_code == 401
    await stranger.send("GET", f"/nowhere/{stage.found['visit']['id']}")
    await stage.close()
    after = series()
    grown = {key: value - before.get(key, 0.0) for key, value in after.items() if value != before.get(key, 0.0)}
    strange = [(label, value) for _, labels in grown for label, value in labels if value not in VALUES[label]]
    assert strange == []
    assert not [value for _, labels in grown for _, value in labels if re.fullmatch(r"[0-9A-Z]{26}", value)]
    counted = {(name, *(value for _, value in labels)): growth for (name, labels), growth in grown.items()}
    assert counted["logins_total", "password", "bad_credentials"] == 1
    assert counted["logins_total", "wechat", "ok"] == 1
    assert counted["media_uploads_total", "unsupported_media"] == 1
    assert counted["media_uploads_total", "ready"] >= 1
    assert counted["payment_notifications_total", "bad", "payment"] == 1
    assert counted["payment_notifications_total", "taken", "payment"] == 1
    assert counted["outside_call_seconds_count", "prepay", "ok", "wechat_pay"] == 1
    assert counted["outside_call_seconds_count", "/sns/jscode2session", "ok", "wechat_login"] == 1
    assert counted["outside_call_seconds_count", "IdCardVerification", "ok", "faceid"] == 1
    assert counted["duties_total", "visit.open_order", "done"] == 1
