"""The doctor's own page (D4.2): text, photo, fees and services, within what the hospital allows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from core import outbox
from core.auth import Caller
from core.desk import rules
from core.directory import rules as directory_rules
from core.directory import service as directory
from core.errors import Conflict, Invalid, NotFound
from core.media import service as media
from storage.doctors import Doctor

if TYPE_CHECKING:
    from core.context import Context

# Ratings and the duty switch change the same document: who does not name a version is not refused for their sake.
TRIES: Final = 5
EDITED: Final = ("introduction", "skills", "photo", "fees", "services")


async def read(ctx: "Context", *, caller: Caller) -> dict[str, Any]:
    """The page as the doctor edits it, and the bounds of fees (fen); `NotFound` for a doctor without one."""
    return _view(ctx, await _require(ctx, caller))


async def change(ctx: "Context", *, caller: Caller, form: Mapping[str, Any]) -> dict[str, Any]:
    """Change what was given, at once for everybody; fees by service, the others as a whole.

    `Invalid` naming the field for a fee outside the hospital's bounds, a service the hospital has not granted or that
    has no fee, and a photo that is not the doctor's own finished image. `conflict` when `form["version"]` is not the
    page's any more; nothing is changed then.
    """
    given = {name: form[name] for name in EDITED if name in form}
    for _ in range(TRIES):
        seen = await _require(ctx, caller)
        if form.get("version", seen["version"]) != seen["version"]:
            raise Conflict
        values = _values(ctx, seen, given)
        if not values:
            return _view(ctx, seen)
        if values.get("photo") is not None:
            await _keep_photo(ctx, caller, values["photo"])
        now = ctx.clock.now()
        before = _before(seen)
        entries = [
            outbox.entry(caller.actor, f"change_{name}", frm=str(before[name]), to=str(value), at=now)
            for name, value in values.items()
        ]
        if await ctx.doctors.change(seen, values, entries=entries, at=now):
            await ctx.catalogue.changed(caller.id)
            return _view(ctx, await _require(ctx, caller))
    raise Conflict


async def _require(ctx: "Context", caller: Caller) -> Doctor:
    doctor = await ctx.doctors.get(caller.id)
    if doctor is None:
        raise NotFound
    return doctor


async def _keep_photo(ctx: "Context", caller: Caller, photo: str) -> None:
    """The image becomes part of the doctor's page and is kept like what belongs to a visit."""
    try:
        await media.attach(
            ctx, media_ids=[photo], owner=caller.id, visit_id=f"doctor:{caller.id}", readers=[], kinds={"image"}
        )
    except (NotFound, Invalid) as error:
        raise Invalid.field("photo", "请选择本人已上传完成的图片") from error


def _values(ctx: "Context", seen: Doctor, given: Mapping[str, Any]) -> dict[str, Any]:
    """What really changes; `Invalid` naming every field at fault."""
    after = {name: value for name, value in given.items() if name != "services"}
    if "fees" in given:
        after["fees"] = {**seen["fees"], **given["fees"]}
    if "services" in given:
        after["paused"] = [service for service in seen["services"] if service not in given["services"]]
    faults = _faults(ctx, seen, given, after.get("fees", seen["fees"]))
    if faults:
        raise Invalid(errors=faults)
    before = _before(seen)
    return {name: value for name, value in after.items() if value != before[name]}


def _before(seen: Doctor) -> Mapping[str, Any]:
    return {"paused": [], **seen}


def _faults(
    ctx: "Context", seen: Doctor, given: Mapping[str, Any], fees: Mapping[str, int]
) -> dict[str, Sequence[str]]:
    low, high = ctx.policy.consult_fee_low, ctx.policy.consult_fee_high
    faults: dict[str, Sequence[str]] = {}
    for service, fee in given.get("fees", {}).items():
        if (said := rules.fault_of_fee(fee, low, high)) is not None:
            faults[f"fees.{service}"] = [said]
    if "services" in given:
        if not set(given["services"]) <= set(seen["services"]):
            faults["services"] = ["医院尚未为您开通此项服务"]
        for service in given["services"]:
            if service not in fees:
                faults[f"fees.{service}"] = ["开通服务前须先设置费用"]
    return faults


def _view(ctx: "Context", doctor: Doctor) -> dict[str, Any]:
    """The stored page; name, title, department and licence as everybody reads them."""
    shown = directory.doctor_page(ctx, doctor["_id"])
    return {
        **shown,
        "introduction": doctor["introduction"],
        "skills": doctor["skills"],
        "photo": doctor["photo"],
        "photo_url": shown["photo"],
        "fees": doctor["fees"],
        "fee_bounds": {"low": ctx.policy.consult_fee_low, "high": ctx.policy.consult_fee_high},
        "services": list(directory_rules.services_on(doctor)),
        "granted": doctor["services"],
        "offered": shown["services"],
        "online": doctor["online"],
        "version": doctor["version"],
    }
