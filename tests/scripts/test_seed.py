import asyncio
import json
import stat
from collections import Counter

import pytest

from app.settings import BadSettings
from scripts import seed
from scripts.acting import Person
from storage.accounts import Account
from storage.visits import Visit

PATIENTS, DOCTORS = 300, 10
LINE = {"account", "role", "token", "device", "conversation", "peer"}


@pytest.fixture(scope="module")
def lines(hospital, io_loop):
    return io_loop.run_sync(lambda: seed.load(hospital.ctx, patients=PATIENTS, doctors=DOCTORS), timeout=60)


def of_role(lines, role):
    return [line for line in lines if line["role"] == role]


def person(hospital, line):
    found = Person(hospital.http, hospital.url)
    found.token = line["token"]
    return found


def test_every_account_has_a_line_patients_first(lines):
    assert [line["role"] for line in lines] == ["patient"] * PATIENTS + ["doctor"] * DOCTORS
    assert all(set(line) == LINE and all(line.values()) for line in lines)
    assert len({line["account"] for line in lines}) == PATIENTS + DOCTORS
    assert len({line["conversation"] for line in of_role(lines, "patient")}) == PATIENTS


def test_the_doctors_have_equal_shares_and_a_line_names_the_first_of_their_conversations(lines):
    patients = of_role(lines, "patient")
    assert set(Counter(line["peer"] for line in patients).values()) == {PATIENTS // DOCTORS}
    for line in of_role(lines, "doctor"):
        first = next(one for one in patients if one["peer"] == line["account"])
        assert (line["conversation"], line["peer"]) == (first["conversation"], first["account"])


@pytest.mark.gen_test(timeout=60)
async def test_what_is_stored_has_the_shape_of_what_the_hospital_stores(hospital, lines):
    line = lines[0]
    account, visit = (
        await hospital.ctx.accounts.get(line["account"]),
        await hospital.ctx.visits.get(line["conversation"]),
    )
    assert set(account) == set(Account.__required_keys__)
    assert set(visit) == set(Visit.__required_keys__)
    assert (visit["status"], visit["patient_account"], visit["doctor_id"]) == (
        "in_progress",
        line["account"],
        line["peer"],
    )
    assert account["password_hash"] is None


@pytest.mark.gen_test(timeout=60)
async def test_both_peers_say_hello_and_are_heard_in_their_conversation(hospital, lines):
    doctor = of_role(lines, "doctor")[0]
    patient = next(line for line in lines if line["account"] == doctor["peer"])
    conversation = patient["conversation"]
    ends = [await person(hospital, line).connect(line["device"]) for line in (patient, doctor)]
    for speaker, listener in (ends, ends[::-1]):
        sent = await speaker.say(conversation, "你好")
        heard = await listener.next_event("message.created", conversation=conversation, seq=sent["seq"])
        assert heard["body"] == {"text": "你好"}
    for end in ends:
        await end.close()


@pytest.mark.gen_test(timeout=60)
async def test_the_tokens_live_four_hours_and_open_the_visit(hospital, lines):
    for line in (lines[0], lines[-1]):
        caller, _ = hospital.ctx.tokens.read(line["token"], hospital.ctx.clock.now())
        left = caller.expires_at - hospital.ctx.clock.now().timestamp()
        assert 4 * 3_600 - 300 < left <= 4 * 3_600
        detail = await person(hospital, line).get(f"/visits/{line['conversation']}")
        assert (detail["status"], detail["order"]) == ("in_progress", None)


def test_a_doctor_without_a_patient_has_no_line(hospital, io_loop):
    few = io_loop.run_sync(lambda: seed.load(hospital.ctx, patients=2, doctors=5), timeout=60)
    assert [line["role"] for line in few] == ["patient"] * 2 + ["doctor"] * 2


def test_the_file_holds_one_line_an_account_and_is_its_owners_alone(tmp_path, lines):
    out = tmp_path / "load.jsonl"
    out.write_text("an older one, readable by all")
    out.chmod(0o644)
    seed.write(lines[:3], out)
    assert [json.loads(line) for line in out.read_text().splitlines()] == lines[:3]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


# --- the command ----------------------------------------------------------------------------------------


def command(tmp_path, *more):
    return ["load", "--patients", "3", "--doctors", "1", "--out", str(tmp_path / "out"), *more]


def test_the_command_loads_and_tells_how_many(hospital, tmp_path, monkeypatch, capsys, lines):
    async def load(settings, *, patients, doctors):
        assert (settings, patients, doctors) == (hospital.settings, 3, 1)
        return lines[:4]

    monkeypatch.setattr(seed, "settings_of", lambda data_dir: hospital.settings)
    monkeypatch.setattr(seed, "run", load)
    monkeypatch.setattr(asyncio, "run", _run_by_hand)
    assert seed.main(command(tmp_path)) == 0
    assert capsys.readouterr().out == f"4 accounts in {tmp_path / 'out'}\n"
    assert len((tmp_path / "out").read_text().splitlines()) == 4


def _run_by_hand(coroutine):
    """What a coroutine that never waits returns; the loop of the tests stays the only one."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waited")


def test_production_is_refused_before_any_store_is_opened(hospital, tmp_path, monkeypatch, capsys):
    production = type("Settings", (), {"production": True})
    monkeypatch.setattr(seed, "settings_of", lambda data_dir: production)
    monkeypatch.setattr(seed, "open_hospital", None)
    assert seed.main(command(tmp_path)) == 2
    assert capsys.readouterr().err == "seed: refused in production mode\n"
    assert not (tmp_path / "out").exists()


def test_without_a_running_hospital_it_is_one_line(tmp_path, monkeypatch, capsys):
    def refuse():
        raise BadSettings("MONGO_URI is missing")

    monkeypatch.setattr(seed, "read", refuse)
    assert seed.main(command(tmp_path, "--data-dir", str(tmp_path))) == 2
    said = capsys.readouterr().err
    assert said == "seed: MONGO_URI is missing; start scripts/server first, or set the environment\n"


@pytest.mark.parametrize(("patients", "doctors"), [("0", "1"), ("1", "0"), ("-1", "1"), ("x", "1")])
def test_numbers_below_one_are_refused(tmp_path, capsys, patients, doctors):
    with pytest.raises(SystemExit) as ended:
        seed.main(["load", "--patients", patients, "--doctors", doctors, "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert not (tmp_path / "out").exists()


def test_the_environment_is_completed_by_the_running_servers_folder(tmp_path, monkeypatch):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "settings.json").write_text(json.dumps({"SEED_TEST_KEY": "kept", "SEED_TEST_BOTH": "kept"}))
    (tmp_path / "running.json").write_text(json.dumps({"settings": {"SEED_TEST_URL": "noted"}}))
    seen = {}
    for name in ("SEED_TEST_KEY", "SEED_TEST_URL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("SEED_TEST_BOTH", "given")
    monkeypatch.setattr(seed, "read", lambda: seen.update(seed.os.environ))
    seed.settings_of(tmp_path)
    assert [seen[f"SEED_TEST_{name}"] for name in ("KEY", "URL", "BOTH")] == ["kept", "noted", "given"]
