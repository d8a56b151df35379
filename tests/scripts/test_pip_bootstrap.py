import hashlib
import io
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts.bootstrap import CannotStart
from scripts.pip_bootstrap import Wheel, add_pip, configured, newest_pip, read

# A pip that can do one thing: install itself.
PIP = """
import site, sys, zipfile
zipfile.ZipFile(sys.argv[-1]).extractall(site.getsitepackages()[0])
"""


def wheel() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("pip/__init__.py", "")
        archive.writestr("pip/__main__.py", PIP)
    return content.getvalue()


class Index:
    """A package index on this machine that knows pip; pages by path."""

    def __init__(self) -> None:
        self.wheel = wheel()
        sha256 = hashlib.sha256(self.wheel).hexdigest()
        self.pages = {
            "/simple/pip/": f"""<a href="../../files/pip-9.0.3-py2.py3-none-any.whl">pip-9.0.3-py2.py3-none-any.whl</a>
                <a href="../../files/pip-24.0-py3-none-any.whl#sha256=00">pip-24.0-py3-none-any.whl</a>
                <a href="../../files/pip-26.10-py3-none-any.whl#sha256={sha256}">pip-26.10-py3-none-any.whl</a>
                <a href="../../files/pip-26.9-py3-none-any.whl#sha256=00">pip-26.9-py3-none-any.whl</a>
                <a href="../../files/pip-27.0-py3-none-any.whl" data-yanked="">pip-27.0-py3-none-any.whl</a>
                <a href="../../files/pip-27.0.tar.gz">pip-27.0.tar.gz</a>""".encode(),
            "/files/pip-26.10-py3-none-any.whl": self.wheel,
        }
        self.authorizations: list[str | None] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.authorizations.append(self.headers["Authorization"])
                page = index.pages.get(self.path)
                self.send_response(200 if page else 404)
                self.end_headers()
                self.wfile.write(page or b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.host}/simple"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def index(monkeypatch) -> Iterator[Index]:
    """The index this machine is configured with; the machine itself has no pip."""
    running = Index()
    monkeypatch.setenv("PIP_INDEX_URL", running.url)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def python(tmp_path) -> Path:
    """The interpreter of an environment without pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    return tmp_path / "env" / "bin" / "python"


def has_pip(python: Path) -> bool:
    return subprocess.run([python, "-c", "import pip"], capture_output=True).returncode == 0


def test_pip_comes_from_the_index_this_machine_is_configured_with(python, index):
    assert not has_pip(python)
    add_pip(python)
    assert has_pip(python)


def test_the_newest_release_that_was_not_taken_back_is_chosen(index):
    sha256 = hashlib.sha256(index.wheel).hexdigest()
    assert newest_pip(index.url) == Wheel(f"http://{index.host}/files/pip-26.10-py3-none-any.whl", sha256)


def test_a_wheel_that_is_not_the_one_listed_is_not_run(python, index):
    index.pages["/files/pip-26.10-py3-none-any.whl"] = wheel() + b"more"
    with pytest.raises(CannotStart, match="not the one it lists: install python3-venv"):
        add_pip(python)
    assert not has_pip(python)


def test_without_an_index_one_line_says_what_to_install(python, index):
    del index.pages["/simple/pip/"]
    with pytest.raises(CannotStart, match=r"no package index \(HTTP Error 404: .*\): install python3-venv"):
        add_pip(python)


def test_credentials_of_the_address_are_sent_and_not_part_of_it(index):
    assert read(f"http://us%40er:secret@{index.host}/simple/pip/") == index.pages["/simple/pip/"]
    assert index.authorizations == ["Basic dXNAZXI6c2VjcmV0"]


def test_the_environment_is_above_the_files_and_a_later_file_above_an_earlier(tmp_path):
    for folder, url in (("site", "https://site.test"), ("home/.config", "https://home.test")):
        file = tmp_path / folder / "pip" / "pip.conf"
        file.parent.mkdir(parents=True)
        file.write_text(f"[global]\nindex-url = {url}\ncert = /{folder}.pem\n")
    environ = {"XDG_CONFIG_DIRS": str(tmp_path / "site"), "HOME": str(tmp_path / "nobody")}
    assert configured("index-url", environ) == "https://site.test"
    environ["HOME"] = str(tmp_path / "home")
    assert configured("index-url", environ) == "https://home.test"
    assert configured("index-url", {**environ, "PIP_INDEX_URL": "https://env.test"}) == "https://env.test"
    assert configured("cert", environ) == "/home/.config.pem"
