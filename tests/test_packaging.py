"""What the Dockerfile, compose.yaml and the proxy's configuration name exists; they are not run here."""

import base64
import ipaddress
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import zipfile
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.__main__ import ROLES
from app.settings import Settings, describe, read
from app.wiring import routes_of
from core.policy import MIB, Policy

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
HOSPITAL = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "internet-hospital"}
NAMES = {one["name"] for one in describe()}


def instruction(name: str) -> list[str]:
    """The arguments of every such line of the Dockerfile, continued lines joined."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def image_settings() -> dict[str, str]:
    """The environment the image sets."""
    return dict(pair.split("=", 1) for line in instruction("ENV") for pair in line.split())


def example(name: str = "hospital") -> dict[str, str]:
    """The settings that deploy/<name>.env.example shows."""
    lines = (ROOT / "deploy" / f"{name}.env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_everything_the_image_copies_exists_and_is_let_through_to_the_builder():
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [source for line in instruction("COPY") if "--from" not in line for source in line.split()[:-1]]
    assert copied == let_through
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_continuous_integration_runs_every_check_and_every_test_and_ends_with_the_tests():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    programs = [line.split()[0] for line in lines if line.startswith("scripts/")]
    assert programs == ["scripts/check", "scripts/test"]
    assert "scripts/test --system" in "\n".join(lines)
    assert all((ROOT / program).stat().st_mode & 0o111 == 0o111 for program in [*programs, ".ci/run"])


def test_the_image_leaves_out_simulators_tests_and_programs():
    copied = " ".join(instruction("COPY"))
    assert not any(name in copied for name in ("simulators", "tests", "scripts", "embedded"))


def test_the_image_sets_only_settings_that_exist_and_is_for_production():
    ours = {name for name in image_settings() if name not in ("PATH", "PYTHONUNBUFFERED")}
    assert ours <= NAMES
    assert image_settings()["PRODUCTION"] == "true"
    assert instruction("USER") == ["hospital"]


def test_the_image_listens_where_it_says_and_is_asked_there():
    port = image_settings()["LISTEN_PORT"]
    assert instruction("EXPOSE") == [port]
    command = json.loads(instruction("HEALTHCHECK")[0].partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    assert f"http://127.0.0.1:{port}/healthz" in command[2]
    compile(command[2], "HEALTHCHECK", "exec")
    for role in ROLES:
        assert r"/healthz" in [route[0] for route in routes_of(role)]


def test_the_image_starts_the_module_that_exists():
    assert instruction("ENTRYPOINT") == ['["python", "-m", "app"]']
    assert json.loads(instruction("CMD")[-1]) == ["--role", "all"]


def test_each_role_is_a_service_of_its_own():
    assert {name: service["command"] for name, service in HOSPITAL.items()} == {
        "api": ["--role", "api"],
        "im": ["--role", "im"],
        "rtc": ["--role", "rtc"],
        "worker": ["--role", "worker"],
    }
    assert set(HOSPITAL) == set(ROLES) - {"all"}


def test_compose_and_the_example_give_every_setting_that_must_be_given_and_no_other_name():
    required = {one.name.upper() for one in fields(Settings) if one.default is MISSING and one.name != "policy"}
    for service in HOSPITAL.values():
        assert service["env_file"] == ["deploy/hospital.env", "deploy/turn.env"]
        given = (
            set(service["environment"])
            | set(example())
            | set(example("turn"))
            | set(image_settings()) - {"PATH", "PYTHONUNBUFFERED"}
        ) - {"TMPDIR"}  # the worker's, where films are made: Python's own
        assert given <= NAMES
        assert required <= given


@pytest.mark.parametrize("role", sorted(HOSPITAL))
def test_what_compose_and_the_filled_in_example_say_is_good_enough_for_production(role, monkeypatch):
    for name in os.environ:
        monkeypatch.delenv(name)
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    filled_in = {name: value.replace("…", key) for name, value in example().items()}
    for name, value in (image_settings() | filled_in | HOSPITAL[role]["environment"]).items():
        monkeypatch.setenv(name, value)
    settings = read()
    assert (settings.production, settings.proxy_headers, settings.staff_second_factor) == (True, True, "required")


def test_the_example_names_keys_it_shows_and_holds_no_secret():
    shown = example()
    assert list(json.loads(shown["TOKEN_KEYS"])) == [shown["TOKEN_KEY"]]
    assert list(json.loads(shown["FIELD_KEYS"])) == [shown["FIELD_KEY"]]
    assert {shown[name] for name in ("BLIND_INDEX_KEY", "CODE_KEY", "LINK_KEY")} == {"…"}
    assert shown["PUBLIC_URL"].startswith("https://")


def test_secrets_stay_out_of_the_repository():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"deploy/hospital.env", "deploy/turn.env", "deploy/secrets/", "deploy/certificates/"} <= set(ignored)


def test_the_addresses_of_the_stores_are_services_and_mongodb_is_a_replica_set():
    environment = HOSPITAL["api"]["environment"]
    assert environment["MONGO_URI"] == "mongodb://mongo:27017/?replicaSet=rs0"
    assert environment["REDIS_URL"] == "redis://redis:6379/0"
    services = COMPOSE["services"]
    assert services["mongo"]["image"] == "mongo:8"
    assert services["mongo"]["command"][:3] == ["mongod", "--replSet", "rs0"]
    assert "appendonly yes" in " ".join(services["redis"]["command"]).replace("--", "")
    for store in ("mongo", "redis"):
        assert services[store]["networks"] == ["inside"]
        assert "ports" not in services[store]
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_files_that_are_mounted_exist_or_are_the_operators_to_give():
    to_give = {"./deploy/secrets", "./deploy/certificates"}
    mounted = [volume.split(":")[0] for one in COMPOSE["services"].values() for volume in one.get("volumes", [])]
    files = {name for name in mounted if name.startswith("./")} - to_give
    assert files == {"./deploy/nginx.conf"}
    assert all((ROOT / name).exists() for name in files)
    assert {name for name in mounted if not name.startswith("./")} == set(COMPOSE["volumes"])


def test_recordings_outlive_their_container_in_a_folder_that_the_image_may_write():
    folder = HOSPITAL["rtc"]["environment"]["RECORDINGS_DIR"]
    assert f"recordings:{folder}" in HOSPITAL["rtc"]["volumes"]
    assert any(f"install --directory --owner hospital {folder}" in line for line in instruction("RUN"))


def test_only_the_proxy_and_the_relay_have_a_door_to_the_outside():
    assert {name: one["ports"] for name, one in COMPOSE["services"].items() if "ports" in one} == {
        "nginx": ["80:80", "443:443"],
        "coturn": ["3478:3478/tcp", "3478:3478/udp"],
    }


def test_the_relay_takes_our_credentials_knows_no_other_secret_and_relays_to_our_network_alone():
    coturn = COMPOSE["services"]["coturn"]
    (command,) = coturn["command"]
    assert coturn["env_file"] == "deploy/turn.env"
    assert set(example("turn")) == {"TURN_SECRET", "TURN_URLS"}
    assert '--use-auth-secret --static-auth-secret="$$TURN_SECRET"' in command
    subnet = ipaddress.ip_network(COMPOSE["networks"]["outside"]["ipam"]["config"][0]["subnet"])
    assert "--denied-peer-ip=0.0.0.0-255.255.255.255" in command
    assert f"--allowed-peer-ip={subnet[0]}-{subnet[-1]}" in command
    assert all(":3478" in url for url in example("turn")["TURN_URLS"].split(","))
    assert coturn["networks"] == ["outside"]
    assert "outside" in HOSPITAL["rtc"]["networks"]


def test_the_proxy_passes_on_to_services_on_their_port():
    port = image_settings()["LISTEN_PORT"]
    upstreams = dict(re.findall(r"upstream (\w+) \{\s+server ([\w:]+);", NGINX))
    assert upstreams == {"api": f"api:{port}", "im": f"im:{port}"}
    assert set(re.findall(r"proxy_pass http://(\w+);", NGINX)) == set(upstreams)


@pytest.mark.parametrize("role", ["api", "im"])
def test_the_proxy_passes_on_what_the_role_serves_and_nothing_of_its_inside(role):
    passed_on = dict(re.findall(r"location (?:= )?(\S+) \{[^}]*?proxy_pass http://(\w+);", NGINX))
    assert passed_on == {"/api/": "api", "/api/v1/media": "api", "/ws": "im"}
    for pattern, *_ in routes_of(role):
        inside = pattern in ("/healthz", "/readyz", "/metrics")
        prefix = next((location for location in passed_on if pattern.startswith(location)), None)
        assert (prefix is None) == inside
    assert re.search(r"location / \{\s+return 404;", NGINX)


def test_the_proxy_takes_the_largest_upload_and_overwrites_what_clients_say_of_themselves():
    largest = int(re.findall(r"client_max_body_size (\d+)m;", NGINX)[1]) * MIB
    assert largest > Policy().media_video_bytes
    assert "X-Forwarded-For   $remote_addr;" in NGINX
    assert "proxy_add_x_forwarded_for" not in NGINX
    assert HOSPITAL["api"]["environment"]["PROXY_HEADERS"] == "true"


def test_braces_of_the_proxys_configuration_match():
    assert NGINX.count("{") == NGINX.count("}")


@pytest.mark.timeout(180)
def test_the_installed_package_carries_every_module_and_data_file(tmp_path):
    packages = ("app", "core", "im", "integrations", "rtc", "storage")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in packages:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "out").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [file for name in packages for file in (ROOT / name).rglob("*") if file.is_file()]
    assert carried == {str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts}
