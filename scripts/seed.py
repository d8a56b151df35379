"""`scripts/seed load`: many accounts with open consultations and ready tokens, for load tools.

`--patients N --doctors M --out FILE` writes one JSON line per account: `{account, role, token, device, conversation,
peer}`, patients first; a doctor's line names the first of their conversations. Tokens live four hours and there are no
passwords, so what it makes cannot be logged in to again. Production mode refuses.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from app.settings import BadSettings, Settings, read
from app.wiring import open_hospital
from core.auth import SYSTEM
from core.compliance import years_later
from core.context import Context
from core.ids import new_id
from core.outbox import entry

TOKEN_SECONDS: Final = 4 * 3_600
BATCH: Final = 250


def settings_of(data_dir: Path) -> Settings:
    """The settings of the environment, completed by what `scripts/server` keeps in its data folder while it runs."""
    for name, value in _kept(data_dir).items():
        os.environ.setdefault(name, value)
    return read()


def _kept(data_dir: Path) -> Mapping[str, str]:
    try:
        secrets: dict[str, str] = json.loads((data_dir / "keys" / "settings.json").read_text(encoding="utf-8"))
        running = json.loads((data_dir / "running.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {**secrets, **running["settings"]}


async def load(ctx: Context, *, patients: int, doctors: int) -> list[dict[str, str]]:
    """Store the accounts and one open consultation per patient; a line per account."""
    doctor_ids = [new_id() for _ in range(doctors)]
    pairs = [(new_id(), doctor_ids[number % doctors], new_id()) for number in range(patients)]
    for batch in _batches(doctor_ids):
        await ctx.store.db["accounts"].insert_many([_account(ctx, one, "doctor") for one in batch])
    for batch in _batches(pairs):
        await ctx.store.db["accounts"].insert_many([_account(ctx, one, "patient") for one, _, _ in batch])
        await ctx.store.db["visits"].insert_many([_visit(ctx, *one) for one in batch])
    lines = [_line(ctx, patient, "patient", visit, doctor) for patient, doctor, visit in pairs]
    first = {doctor: (visit, patient) for patient, doctor, visit in reversed(pairs)}
    return lines + [_line(ctx, doctor, "doctor", *first[doctor]) for doctor in doctor_ids if doctor in first]


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _account(ctx: Context, account: str, role: str) -> dict[str, Any]:
    now = ctx.clock.now()
    audience = "patient" if role == "patient" else "staff"
    return {
        "_id": account,
        "audience": audience,
        "role": role,
        "status": "active",
        "phone": "",
        "phone_index": account,
        "name": None,
        "login": None,
        "password_hash": None,
        "department_id": None,
        "epoch": 0,
        "wrong_tries": 0,
        "locked_until": None,
        "second_factor": None,
        "created_at": now,
        "updated_at": now,
    }


def _visit(ctx: Context, patient: str, doctor: str, visit: str) -> dict[str, Any]:
    now = ctx.clock.now()
    condition = {"description": "压力测试", "duration": "", "history": "", "allergies": ""}
    return {
        "_id": visit,
        "kind": "consult",
        "status": "in_progress",
        "version": 1,
        "request_id": visit,
        "patient_account": patient,
        "patient": {
            "id": patient,
            "name": ctx.cipher.seal("压测患者", field="patient.name"),
            "gender": "9",
            "birth_date": "1990-01-01",
            "relation": "self",
            "guardian": None,
        },
        "doctor_id": doctor,
        "doctor_name": "压测医生",
        "department_id": "load",
        "consult_type": {"id": "load", "name": "压力测试"},
        "condition": ctx.cipher.seal(json.dumps(condition, ensure_ascii=False), field="visit.condition"),
        "attachments": [],
        "consents": [],
        "fee": 0,
        "order_id": None,
        "reason": None,
        "advice": None,
        "rating": None,
        "submitted_at": now,
        "accepted_at": now,
        "ended_at": None,
        "deadline_at": now + timedelta(seconds=ctx.policy.visit_silent_seconds),
        "created_at": now,
        "updated_at": now,
        "retain_until": years_later(now, ctx.policy.retain_record_years),
        "history": [entry(SYSTEM, "load", frm="in_progress", to="in_progress", at=now)],
        "duties": [],
    }


def _line(ctx: Context, account: str, role: str, conversation: str, peer: str) -> dict[str, str]:
    token = ctx.tokens.issue(
        account=account,
        role=role,
        audience="patient" if role == "patient" else "staff",
        session=new_id(),
        epoch=0,
        now=ctx.clock.now(),
        seconds=TOKEN_SECONDS,
    )
    return {
        "account": account,
        "role": role,
        "token": token,
        "device": f"load-{account[-8:]}",
        "conversation": conversation,
        "peer": peer,
    }


async def run(settings: Settings, *, patients: int, doctors: int) -> list[dict[str, str]]:
    """Load into the hospital that these settings describe; the lines."""
    hospital = await open_hospital(settings)
    try:
        return await load(hospital.ctx, patients=patients, doctors=doctors)
    finally:
        await hospital.close()


def write(lines: Sequence[Mapping[str, str]], out: Path) -> None:
    """One JSON line per account, readable by its owner alone: they carry tokens."""
    out.touch()
    out.chmod(0o600)
    out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Read the command line and load."""
    parser = argparse.ArgumentParser(prog="scripts/seed", description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    given = commands.add_parser("load", help="accounts with open consultations and tokens")
    given.add_argument("--patients", type=int, required=True)
    given.add_argument("--doctors", type=int, required=True)
    given.add_argument("--out", type=Path, required=True)
    given.add_argument("--data-dir", type=Path, default=Path("var"), help="of the running scripts/server")
    options = parser.parse_args(arguments)
    if options.patients < 1 or options.doctors < 1:
        parser.error("--patients and --doctors must be at least 1")
    try:
        settings = settings_of(options.data_dir)
    except BadSettings as error:
        print(f"seed: {error}; start scripts/server first, or set the environment", file=sys.stderr)
        return 2
    if settings.production:
        print("seed: refused in production mode", file=sys.stderr)
        return 2
    lines = asyncio.run(run(settings, patients=options.patients, doctors=options.doctors))
    write(lines, options.out)
    print(f"{len(lines)} accounts in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
