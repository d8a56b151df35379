"""pip for an environment that was made without it, as on a Debian whose Python has no ensurepip.

The machine's own pip installs one where there is one. Otherwise pip's wheel is taken from the package index that pip
is configured with on this machine (environment, pip.conf, else pip's own default), read with the standard library.
"""

import base64
import configparser
import hashlib
import os
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from scripts.bootstrap import CannotStart

DEFAULT_INDEX = "https://pypi.org/simple"  # pip's own
TIMEOUT_S = 60
_RELEASE = re.compile(r"pip-(\d+(?:\.\d+)*)-py3-none-any\.whl")


@dataclass(frozen=True)
class Wheel:
    """A file of the index: where it is, and the SHA-256 the index gives, if it does."""

    url: str
    sha256: str | None


def add_pip(python: Path) -> None:
    """Install pip into the environment of `python`. CannotStart says in one line what to do instead."""
    own = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "pip"]
    if subprocess.run(own, capture_output=True, check=False).returncode == 0:  # pip 22.3 or newer is on the machine
        return
    index = configured("index-url") or DEFAULT_INDEX
    try:
        wheel = newest_pip(index)
        content = read(wheel.url)
    except OSError as error:
        raise CannotStart(f"there is no pip and no package index ({error}): install python3-venv") from error
    if wheel.sha256 is not None and hashlib.sha256(content).hexdigest() != wheel.sha256:
        raise CannotStart("the package index sent a pip that is not the one it lists: install python3-venv")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(urlsplit(wheel.url).path).name
        file.write_bytes(content)
        command = [str(python), str(file / "pip"), "install", "--quiet", "--no-index", str(file)]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise CannotStart("pip could not be put into the environment: install python3-venv")


def configured(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """A setting of pip on this machine: the environment's, else the last of its configuration files that has it."""
    given = environ.get("PIP_" + name.upper().replace("-", "_"))
    if given:
        return given
    home = Path(environ.get("HOME", "/nonexistent"))
    files = [
        *(Path(folder) / "pip" / "pip.conf" for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        Path(environ.get("XDG_CONFIG_HOME", home / ".config")) / "pip" / "pip.conf",
        *([Path(environ["PIP_CONFIG_FILE"])] if "PIP_CONFIG_FILE" in environ else []),
    ]
    parser = configparser.RawConfigParser()
    parser.read(files, encoding="utf-8")
    return parser.get("install", name, fallback=parser.get("global", name, fallback=None))


def newest_pip(index: str) -> Wheel:
    """The newest release in the index's page of pip (the HTML form, which every index has)."""
    address = f"{index.rstrip('/')}/pip/"
    page = _Page(address)
    page.feed(read(address).decode())
    if not page.found:
        raise CannotStart("the package index of this machine has no pip: install python3-venv")
    return page.found[max(page.found)]


def read(url: str) -> bytes:
    """What the address answers, asked with the credentials in it and the certificates pip is told to trust."""
    parts = urlsplit(url)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(address)  # noqa: S310  # the index this machine is configured with
    if parts.username:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}")
    trusted = ssl.create_default_context(cafile=configured("cert"))
    with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=trusted) as answer:  # noqa: S310  # the same
        content: bytes = answer.read()
    return content


class _Page(HTMLParser):
    """Collects the wheels of a PEP 503 page by version, without those taken back."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.found: dict[tuple[int, ...], Wheel] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One link, one file; its fragment is `sha256=…`."""
        given = dict(attrs)
        href = given.get("href")
        if tag != "a" or href is None or "data-yanked" in given:
            return
        url, fragment = urldefrag(urljoin(self.address, href))
        release = _RELEASE.fullmatch(unquote(Path(urlsplit(url).path).name))
        if release is None:
            return
        version = tuple(int(part) for part in release[1].split("."))
        self.found[version] = Wheel(url, fragment.partition("sha256=")[2] or None)
