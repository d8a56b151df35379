"""The directory: what patients choose from, and what visits must find true of it."""

import functools
import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core import data
from core.compliance import mask_number
from core.directory import rules
from core.directory.catalogue import Listed, Wanted, title_name
from core.errors import Conflict, Invalid, NotFound
from core.ids import china_today
from core.media import service as media
from core.policy import Policy
from storage.consent_texts import ConsentText, NewConsentText
from storage.consult_types import ConsultType
from storage.departments import Department
from storage.doctors import Doctor, ServiceKind
from storage.hospitals import Hospital
from storage.ratings import Rating
from storage.visits import Consent

if TYPE_CHECKING:
    from core.context import Context


async def hospital(ctx: "Context") -> Hospital:
    """The hospital as it presents itself; `NotFound` before it has been described."""
    found = await ctx.hospitals.get()
    if found is None:
        raise NotFound
    return found


def departments(ctx: "Context") -> list[dict[str, Any]]:
    """Departments in the hospital's order, each with how many doctors patients can ask today."""
    today = china_today(ctx.clock)
    return [
        {**_department(one), "introduction": one["introduction"], "doctors": ctx.catalogue.count(one["_id"], today)}
        for one in ctx.catalogue.departments()
    ]


def find_doctors(ctx: "Context", wanted: Wanted, *, limit: int, cursor: str | None) -> dict[str, Any]:
    """A page of doctors who may be asked for something today, best first; `Invalid` for a cursor that is not ours."""
    found = ctx.catalogue.find(wanted, today=china_today(ctx.clock), limit=limit, cursor=cursor)
    return {"items": [_presented(ctx, listed) for listed in found.doctors], "next_cursor": found.cursor}


def doctor_page(ctx: "Context", doctor_id: str) -> dict[str, Any]:
    """A doctor's page. One who may not be asked today has no services, no fees and is offline; unknown: `NotFound`."""
    listed = ctx.catalogue.doctor(doctor_id)
    if listed is None:
        raise NotFound
    return _presented(ctx, listed)


def _presented(ctx: "Context", listed: Listed) -> dict[str, Any]:
    doctor, department = listed.doctor, listed.department
    today = china_today(ctx.clock)
    services = ctx.catalogue.offers(listed, today)
    subjects = {row["code"]: row["name"] for row in data.table("subjects")}
    return {
        "id": doctor["_id"],
        "name": doctor["name"],
        "title": {"code": doctor["title"], "name": title_name(doctor["title"])},
        "department": _department(department) if department else None,
        "skills": doctor["skills"],
        "introduction": doctor["introduction"],
        "photo": f"/api/v1/doctors/{doctor['_id']}/photo" if doctor["photo"] else None,
        "services": list(services),
        "fees": {service: doctor["fees"][service] for service in services},
        "online": doctor["online"] and bool(services),
        "rating": {"average": average(doctor["rating_sum"], doctor["rating_count"]), "count": doctor["rating_count"]},
        "licence": {
            "number": mask_number(doctor["licence_number"]),
            "scope": [subjects.get(code, code) for code in doctor["practice_scope"]],
            "institution": doctor["institution"],
            "valid": rules.is_licensed(doctor, today),
            "valid_to": doctor["licence_valid_to"],
        },
    }


async def photo(ctx: "Context", doctor_id: str) -> media.Content:
    """The small image of the photo on a doctor's page; `NotFound` where there is none."""
    listed = ctx.catalogue.doctor(doctor_id)
    medium = await ctx.media.get(listed.doctor["photo"] or "") if listed else None
    if medium is None or medium["status"] != "ready":
        raise NotFound
    return media.content_of(medium, "thumbnail")


def _department(department: Department) -> dict[str, Any]:
    return {"id": department["_id"], "code": department["code"], "name": department["name"]}


def average(stars: int, count: int) -> float | None:
    """Mean of the stars to one decimal; None while nobody has rated."""
    return round(stars / count, 1) if count else None


async def ratings_page(ctx: "Context", doctor_id: str, *, limit: int, cursor: str | None) -> list[Rating]:
    """What patients said of a doctor, newest first, one more than `limit` when there are more; unknown: `NotFound`."""
    if ctx.catalogue.doctor(doctor_id) is None:
        raise NotFound
    return await ctx.ratings.page_of_doctor(doctor_id, before=cursor, limit=limit + 1)


# --- what visits ask ------------------------------------------------------------------------------


async def require_offered(ctx: "Context", doctor_id: str, service: ServiceKind) -> Doctor:
    """The doctor, read from the store; `doctor_unavailable` unless they offer this service today (R2-2, R2-8)."""
    doctor = await ctx.doctors.get(doctor_id)
    if doctor is None or service not in rules.offered_services(doctor, china_today(ctx.clock), ctx.policy):
        raise Conflict(code="doctor_unavailable")
    return doctor


async def require_licensed(ctx: "Context", doctor_id: str) -> Doctor:
    """The doctor, who may serve patients today whatever they offer; `doctor_unavailable` otherwise (R2-2, R2-8)."""
    doctor = await ctx.doctors.get(doctor_id)
    if doctor is None:
        raise NotFound
    today = china_today(ctx.clock)
    if not rules.is_licensed(doctor, today):
        raise Conflict("执业证书已过有效期，不能接诊", code="doctor_unavailable")
    if not rules.may_practise(doctor, today, ctx.policy):
        raise Conflict("执业年限、执业机构同意或多机构备案不符合要求，不能接诊", code="doctor_unavailable")
    return doctor


async def set_duty(ctx: "Context", doctor_id: str, online: bool) -> None:
    """Turn the doctor's own switch; going online needs all that `require_licensed` does, going offline nothing."""
    if online:
        await require_licensed(ctx, doctor_id)
    if not await ctx.doctors.set_online(doctor_id, online, at=ctx.clock.now()):
        raise NotFound
    await ctx.catalogue.changed(doctor_id)


async def recount_ratings(ctx: "Context", doctor_id: str) -> None:
    """Bring the doctor's average up to all ratings stored; safe to repeat and to run twice at once."""
    stars, count = await ctx.ratings.sum_of_doctor(doctor_id)
    if await ctx.doctors.set_rating(doctor_id, stars=stars, count=count, at=ctx.clock.now()):
        await ctx.catalogue.changed(doctor_id)


async def consult_types(ctx: "Context") -> list[ConsultType]:
    """The types patients may choose now, in the hospital's order."""
    return await ctx.consult_types.enabled()


async def require_consult_type(ctx: "Context", consult_type_id: str) -> ConsultType:
    """The type, which patients may choose now; `Invalid` on `consult_type_id` when unknown or disabled."""
    found = await ctx.consult_types.get(consult_type_id)
    if found is None or not found["enabled"]:
        raise Invalid.field("consult_type_id", "该咨询类型不存在或已停用，请重新选择")
    return found


# --- consent texts --------------------------------------------------------------------------------


async def publish_consent_text(
    ctx: "Context", *, kind: str, version: str, title: str, body: str, effective_at: datetime, by: str
) -> bool:
    """Store a version of a text with its hash; False: this version exists, and stays word for word as it is (R3-1)."""
    text = NewConsentText(
        kind=kind,
        version=version,
        title=title,
        body=body,
        hash=hash_of(body),
        effective_at=effective_at,
        created_at=ctx.clock.now(),
        created_by=by,
    )
    return await ctx.consent_texts.add(text)


def hash_of(body: str) -> str:
    """SHA-256 of the text in UTF-8, hexadecimal: what a consent record proves to have been agreed to."""
    return hashlib.sha256(body.encode()).hexdigest()


async def consent_text(ctx: "Context", kind: str, version: str | None) -> ConsentText:
    """A text: the version asked for, else the one in force; `NotFound` when there is none."""
    if version is not None:
        found = await ctx.consent_texts.get(kind, version)
    else:
        found = await ctx.consent_texts.in_force(kind, ctx.clock.now())
    if found is None:
        raise NotFound
    return found


def consents_for(age: int, policy: Policy) -> frozenset[str]:
    """The kinds of texts a submission for a patient of this age must carry (R3-1, R3-3, R3-4)."""
    return rules.needed_consents(age, policy)


async def require_consents(
    ctx: "Context",
    given: Sequence[Mapping[str, str]],
    *,
    needed: Collection[str],
    address: str,
    device: str,
) -> list[Consent]:
    """The records to keep of what was agreed to: which text word for word, when, and from where (R3-1).

    `Invalid` naming the field when a needed kind is missing, a version is not the one in force, or a kind is given
    twice; nothing is assumed on the patient's behalf.
    """
    kinds = [one["kind"] for one in given]
    missing = sorted(set(needed) - set(kinds))
    if missing:
        names = "、".join(f"《{rules.CONSENT_NAMES.get(kind, kind)}》" for kind in missing)
        raise Invalid.field("consents", f"请先阅读并同意{names}")
    if len(kinds) != len(set(kinds)):
        raise Invalid.field("consents", "同一份文书只能同意一次")
    now = ctx.clock.now()
    records: list[Consent] = []
    for place, one in enumerate(given):
        text = await ctx.consent_texts.in_force(one["kind"], now)
        if text is None:
            raise Invalid.field(f"consents.{place}.kind", "没有这样的文书")
        if text["version"] != one["version"]:
            raise Invalid.field(f"consents.{place}.version", "文书已更新，请重新阅读并同意现行版本")
        records.append(
            Consent(
                kind=text["kind"], version=text["version"], hash=text["hash"], at=now, address=address, device=device
            )
        )
    return records


# --- tables that ship with the product ------------------------------------------------------------


@functools.cache
def _divisions() -> Mapping[str, list[dict[str, Any]]]:
    rows = data.table("divisions")
    parents = {row["parent"] for row in rows}
    tree: dict[str, list[dict[str, Any]]] = {code: [] for code in ("", *(row["code"] for row in rows))}
    for row in rows:
        tree[row["parent"]].append({**row, "leaf": row["code"] not in parents})
    return tree


def divisions(parent: str) -> list[dict[str, Any]]:
    """The divisions right below a code, "" for the provinces, in the order of their codes; unknown code: `NotFound`."""
    below = _divisions().get(parent)
    if below is None:
        raise NotFound
    return below


def emoji() -> list[dict[str, Any]]:
    """What a chat message of kind `emoji` may name."""
    return [dict(row) for row in data.table("emoji")]
