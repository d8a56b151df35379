"""Who gets what at every door: each method of each route and each op of the websocket, for everybody who may ask.

Deny by default here as in the hospital: a row says who is not refused, and how those are who get past their role.
Nobody gets 401, a role that the door is not for gets 403, and what is not one's own does not exist (404).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

PATIENTS: Final = ("owner", "other_patient")
DOCTORS: Final = ("doctor", "other_doctor")
NURSES: Final = ("nurse", "other_nurse")
KEEPERS: Final = ("admin", "security_admin")
STAFF: Final = (*DOCTORS, "pharmacist", *NURSES, *KEEPERS, "auditor", "regulator")
LOGGED_IN: Final = (*PATIENTS, *STAFF)
EVERYBODY: Final = ("anonymous", *LOGGED_IN)

# 2xx, or the stable code of the refusal.
OK: Final = "ok"
NOBODY: Final = "unauthenticated"
ROLE: Final = "forbidden"
NOT_YOURS: Final = "not_found"
# Past the door, and then refused for what was asked: the role is admitted.
INVALID: Final = "invalid"
STATE: Final = "wrong_state"
PROOF: Final = "elevation_required"

Answers = Mapping[str, str]


def group(people: tuple[str, ...], answer: str) -> Answers:
    """The same answer for all of them."""
    return dict.fromkeys(people, answer)


def own(owner: str, *answers: Answers, answer: str = OK) -> Answers:
    """One owner; for the other of the same role there is nothing."""
    others = {"owner": "other_patient", "doctor": "other_doctor", "nurse": "other_nurse"}
    merged: dict[str, str] = {owner: answer, others[owner]: NOT_YOURS}
    for more in answers:
        merged |= more
    return merged


@dataclass(frozen=True)
class Row:
    """One request as everybody makes it. `{name}` in path, body and args stands for a subject (`Subjects`)."""

    asked: str
    not_refused: Answers
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: Answers = field(init=False)

    def __post_init__(self) -> None:
        refused = {"anonymous": NOBODY, **group(LOGGED_IN, ROLE)}
        object.__setattr__(self, "answers", refused | dict(self.not_refused))

    @property
    def method(self) -> str:
        """GET, POST …"""
        return self.asked.partition(" ")[0]

    @property
    def path(self) -> str:
        """From the root on, with its query."""
        return self.asked.partition(" ")[2]


def api(asked: str, not_refused: Answers, body: Any = None, headers: Mapping[str, str] | None = None) -> Row:
    """A row below /api/v1."""
    method, _, path = asked.partition(" ")
    return Row(f"{method} /api/v1{path}", not_refused, body, headers or {})


_ALL_OK: Final = group(EVERYBODY, OK)
_ALL_INVALID: Final = group(EVERYBODY, INVALID)
_PATIENTS_OK: Final = group(PATIENTS, OK)
_DOCTORS_OK: Final = group(DOCTORS, OK)
_ADMIN_OK: Final = {"admin": OK}
_PARTICIPANTS: Final = own("owner", own("doctor"))
_CONCERNED: Final = group(LOGGED_IN, NOT_YOURS) | {"owner": OK, "doctor": OK}
_OWNERS: Final = group(LOGGED_IN, NOT_YOURS) | {"owner": OK}
_OVERSEERS: Final = group(("admin", "regulator"), OK)
_OVERSEERS_PROVE: Final = group(("admin", "regulator"), PROOF)
_TUS: Final = {"Tus-Resumable": "1.0.0"}
_NEXT_BYTES: Final = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}

OPEN: Final = [
    Row("GET /healthz", _ALL_OK),
    Row("GET /readyz", _ALL_OK),
    Row("GET /metrics", _ALL_OK),
    Row("GET /api/docs", _ALL_OK),
    api("GET /openapi.json", _ALL_OK),
    api("GET /asyncapi.json", _ALL_OK),
    api("GET /hospital", _ALL_OK),
    api("GET /departments", _ALL_OK),
    api("GET /doctors", _ALL_OK),
    api("GET /doctors/{doctor}", _ALL_OK),
    api("GET /doctors/{doctor}/photo", _ALL_OK),
    api("GET /doctors/{doctor}/ratings", _ALL_OK),
    api("GET /consult-types", _ALL_OK),
    api("GET /consent-texts/consult_notice", _ALL_OK),
    api("GET /divisions", _ALL_OK),
    api("GET /emoji", _ALL_OK),
    # The gateway is nobody with an account: it proves itself by its signature, whoever brings the letter.
    api("POST /notify/wechat-pay", group(EVERYBODY, "FAIL"), {}),
    api("POST /notify/wechat-refund", group(EVERYBODY, "FAIL"), {}),
]
ACCOUNTS: Final = [
    api("POST /auth/sms-codes", _ALL_INVALID, {}),
    api("POST /auth/login", _ALL_INVALID, {}),
    api("POST /auth/mfa", _ALL_INVALID, {}),
    api("POST /auth/refresh", _ALL_INVALID, {}),
    api("POST /auth/logout", _ALL_INVALID, {}),
    api("POST /auth/tickets/redeem", _ALL_INVALID, {}),
    api("POST /auth/tickets", group(LOGGED_IN, OK), {"purpose": "web_view"}),
    api("POST /auth/elevate", group(STAFF, INVALID), {}),
    api("GET /me", group(LOGGED_IN, OK)),
    api("PATCH /me", _PATIENTS_OK, {"name": "演示"}),
    api("PUT /me/password", group(STAFF, INVALID), {}),
    api("POST /me/second-factor", group(STAFF, PROOF)),
    api("DELETE /me/second-factor", group(STAFF, PROOF)),
    api("POST /me/second-factor/confirm", group(STAFF, STATE), {"code": "000000"}),
    api("GET /me/sessions", group(LOGGED_IN, OK)),
    api("DELETE /me/sessions/{session}", group(LOGGED_IN, NOT_YOURS) | {"owner": OK}),
    api("GET /me/ratings", _PATIENTS_OK),
]
PATIENT_RECORDS: Final = [
    api("GET /patients", _PATIENTS_OK),
    api("POST /patients", group(PATIENTS, INVALID), {}),
    api("GET /patients/{patient}", own("owner")),
    api("PATCH /patients/{patient}", own("owner"), {"relation": "self"}),
    api("DELETE /patients/{spare_patient}", own("owner")),
    api("POST /patients/{patient}/verify", own("owner")),
    api(
        "PUT /patients/{child}/guardian",
        own("owner"),
        {"name": "演示家长", "id_type": "01", "id_number": "{id_number}", "phone": "19900098888", "relation": "father"},
    ),
]
MEDIA: Final = [
    api("POST /media", group(LOGGED_IN, INVALID)),
    api("GET /media/{medium}", _CONCERNED),
    api("HEAD /media/{medium}", _CONCERNED),
    api("GET /media/{medium}/thumbnail", _CONCERNED),
    api("HEAD /media/{medium}/thumbnail", _CONCERNED),
    api("POST /media/{medium}/links", _CONCERNED, {"variant": "original"}),
    # A medium that is in no visit is its owner's alone, and so is what is on its way to become one.
    api("GET /media/{own_medium}", _OWNERS),
    api("OPTIONS /media/uploads", _ALL_OK),
    api("POST /media/uploads", group(LOGGED_IN, INVALID), headers=_TUS),
    api("OPTIONS /media/uploads/{upload}", _ALL_OK),
    api("GET /media/uploads/{upload}", _OWNERS, headers=_TUS),
    api("HEAD /media/uploads/{upload}", _OWNERS, headers=_TUS),
    api("PATCH /media/uploads/{upload}", _OWNERS, headers={**_TUS, **_NEXT_BYTES}),
    api("DELETE /media/uploads/{spare_upload}", _OWNERS, headers=_TUS),
    # Whoever holds a signed link reads; nobody makes one for themselves.
    Row("GET {link}", _ALL_OK),
    Row("HEAD {link}", _ALL_OK),
    Row("GET {forged_link}", group(EVERYBODY, ROLE)),
    Row("HEAD {forged_link}", group(EVERYBODY, ROLE)),
]
VISITS: Final = [
    api("GET /visits", group((*PATIENTS, *DOCTORS, *NURSES), OK)),
    api("POST /visits", group(PATIENTS, INVALID), {}),
    api("POST /visits", own("owner"), "{visit_form}"),
    api("GET /visits/{visit}", _PARTICIPANTS),
    api("GET /visits/{visit}/illness", own("nurse")),
    api("GET /visits/{visit}/messages", _PARTICIPANTS),
    api("POST /visits/{waiting}/cancel", own("owner")),
    api("POST /visits/{acceptable}/accept", own("doctor")),
    api("POST /visits/{declinable}/decline", own("doctor"), {"reason": "请线下就诊"}),
    api("POST /visits/{completable}/complete", own("doctor")),
    api(
        "POST /visits/{terminable}/terminate",
        own("doctor"),
        {"reason": "UNSUITABLE", "advice": "请线下就诊", "refund": True},
    ),
    api("POST /visits/{refundable}/refund", own("doctor"), {"reason": "无法继续"}),
    api("POST /visits/{ended}/rating", own("owner"), {"stars": 5, "text": "好"}),
    api("GET /visits/{rated}/rating", _PARTICIPANTS),
]
MONEY: Final = [
    api("GET /orders", _PATIENTS_OK),
    api("GET /orders/{order}", own("owner")),
    api("POST /orders/{unpaid_order}/payment", own("owner"), {"channel": "wechat_jsapi"}),
    api("GET /admin/reconciliation", _ADMIN_OK),
    api("GET /admin/reconciliation/2026-01-01", {"admin": NOT_YOURS}),
    api("POST /admin/reconciliation/1999-01-01", {"admin": INVALID}),
    api("GET /admin/orders?refund=open", _ADMIN_OK),
    api("POST /admin/orders/{order}/refund/retry", {"admin": PROOF}, {"reason": "已与银行核实"}),
]
DESK: Final = [
    api("GET /desk/summary", _DOCTORS_OK),
    api("PUT /desk/duty", _DOCTORS_OK, {"online": True}),
    api("GET /desk/groups", _DOCTORS_OK),
    api("POST /desk/groups", _DOCTORS_OK, {"name": "新组"}),
    api("PATCH /desk/groups/{group}", own("doctor"), {"name": "复查组"}),
    api("DELETE /desk/groups/{spare_group}", own("doctor")),
    api("PUT /desk/groups/{group}/patients/{patient}", own("doctor")),
    api("DELETE /desk/groups/{group}/patients/{patient}", own("doctor")),
    api("GET /desk/patients", _DOCTORS_OK),
    api("GET /desk/patients/{patient}", own("doctor")),
    api("GET /desk/orders", _DOCTORS_OK),
    api("GET /desk/income", _DOCTORS_OK),
    api("GET /desk/profile", _DOCTORS_OK),
    api("PATCH /desk/profile", _DOCTORS_OK, {}),
    api("GET /desk/ratings", _DOCTORS_OK),
    api("GET /desk/quick-replies", _DOCTORS_OK),
    api("PUT /desk/quick-replies", group(DOCTORS, INVALID), {}),
]
OFFICE: Final = [
    api("GET /admin/consult-types", _ADMIN_OK),
    api("POST /admin/consult-types", {"admin": INVALID}, {}),
    api("PATCH /admin/consult-types/general", {"admin": INVALID}, {}),
    api("GET /admin/departments", _ADMIN_OK),
    api("POST /admin/departments", {"admin": INVALID}, {}),
    api("PATCH /admin/departments/cardiology", {"admin": INVALID}, {}),
    api("GET /admin/doctors", _ADMIN_OK),
    api("POST /admin/doctors", {"admin": INVALID}, {}),
    api("GET /admin/doctors/{doctor}", _ADMIN_OK),
    api("PATCH /admin/doctors/{doctor}", {"admin": INVALID}, {}),
    api("GET /admin/consent-texts", _ADMIN_OK),
    api("POST /admin/consent-texts", {"admin": INVALID}, {}),
    api("GET /admin/settings", _ADMIN_OK),
    api("PATCH /admin/settings", {"admin": INVALID}, {}),
    # A number that the law bounds asks for a fresh proof (R6-4).
    api("PATCH /admin/settings", {"admin": PROOF}, {"values": {"retain_record_years": 20}}),
    api("GET /admin/settings/history", group(("admin", "auditor"), OK)),
    api("GET /audit", {"auditor": OK}),
    api("GET /audit/chain", {"auditor": OK}),
    api("GET /audit/export?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z", {"auditor": PROOF}),
    api("GET /admin/staff", group(KEEPERS, OK)),
    api("POST /admin/staff", group(KEEPERS, INVALID), {}),
    # Workers are made by the hospital's administrator, administrators by that of security (R6-3).
    api("POST /admin/staff", {"security_admin": PROOF}, "{administrator_form}"),
    api("GET /admin/staff/{member}", group(KEEPERS, OK)),
    # Patients are nobody's staff.
    api("GET /admin/staff/{patient_account}", group(KEEPERS, NOT_YOURS)),
    api("PATCH /admin/staff/{member}", group(KEEPERS, INVALID), {}),
    # The hospital's administrator describes its workers; roles are the security administrator's (R6-3).
    api("PATCH /admin/staff/{member}", _ADMIN_OK, {"name": "演示"}),
    api("PATCH /admin/staff/{member}", {"security_admin": PROOF}, {"role": "nurse"}),
    # Who owns the phone may log in with it.
    api("PATCH /admin/staff/{member}", {"admin": PROOF}, {"phone": "19900091111"}),
    api("PATCH /admin/staff/{member}", group(KEEPERS, PROOF), {"status": "disabled"}),
    api("POST /admin/staff/{member}/password-reset", {"admin": PROOF}, {}),
    api("POST /admin/staff/{auditor}/password-reset", {"security_admin": PROOF}, {}),
    api("POST /admin/staff/{member}/unlock", {"security_admin": OK}),
    api("DELETE /admin/staff/{member}/second-factor", {"security_admin": PROOF}),
    api("GET /admin/staff/{member}/sessions", {"security_admin": OK}),
    api("DELETE /admin/staff/{spare_member}/sessions", {"security_admin": OK}),
]
CALLS: Final = [
    api("GET /visits/{visit}/calls", _PARTICIPANTS),
    api("GET /calls/{call}", _PARTICIPANTS),
    # A recording is for the visit's doctor, the administrator and the regulator; to see it takes a fresh proof (R6-4).
    api("GET /calls/{call}/recording", own("doctor", _OVERSEERS)),
    api("POST /calls/{call}/recording/links", own("doctor", _OVERSEERS_PROVE, answer=PROOF), {"reason": "质控抽查"}),
    Row("GET {recording_link}", _ALL_OK),
    Row("HEAD {recording_link}", _ALL_OK),
    Row("GET {forged_recording_link}", group(EVERYBODY, ROLE)),
    Row("HEAD {forged_recording_link}", group(EVERYBODY, ROLE)),
]
ROUTES: Final = [*OPEN, *ACCOUNTS, *PATIENT_RECORDS, *MEDIA, *VISITS, *CALLS, *MONEY, *DESK, *OFFICE]


# Ops, as `op` with its args. Nobody says `hello` first, and is closed with 4009 for it.
CLOSED: Final = "closed with 4009"


def op(name: str, not_refused: Answers, args: Any = None) -> Row:
    """A row of the websocket."""
    return Row(f"OP {name}", {"anonymous": CLOSED} | dict(not_refused), args or {})


_OVER: Final = own("owner", own("doctor", answer=STATE), answer=STATE)
OPS: Final = [
    op("ping", group(LOGGED_IN, OK)),
    op("sync", _PATIENTS_OK | _DOCTORS_OK, {"cursors": None}),
    op("sync", _PARTICIPANTS, {"cursors": {"{visit}": 0}}),
    op("message.send", _PARTICIPANTS, {"conversation": "{visit}", "kind": "text", "body": {"text": "您好"}}),
    op("message.read", _PARTICIPANTS, {"conversation": "{visit}", "seq": 1}),
    op("typing", _PARTICIPANTS, {"conversation": "{visit}"}),
    # Only who has said something takes it back, and not the other member.
    op("message.recall", _PARTICIPANTS | {"doctor": ROLE}, {"conversation": "{visit}", "seq": "{said}"}),
    # A call that has ended: whoever ends it again is told so, and nothing can be set up in it.
    op("call.accept", own("owner", answer=STATE), {"call": "{call}", "consent": {"version": "1"}}),
    op("call.decline", own("owner"), {"call": "{call}"}),
    op("call.cancel", own("doctor"), {"call": "{call}"}),
    op("call.hangup", _PARTICIPANTS, {"call": "{call}"}),
    op("call.offer", _OVER, {"call": "{call}", "generation": 1, "sdp": "v=0"}),
    op("call.candidates", _OVER, {"call": "{call}", "generation": 1, "candidates": [{"candidate": ""}]}),
    op("call.stats", _OVER, {"call": "{call}"}),
    op("call.state", _PARTICIPANTS, {"call": "{call}"}),
    # Last, for then there is a live call.
    op("call.invite", own("doctor"), {"conversation": "{visit}", "media": "audio"}),
]
