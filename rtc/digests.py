"""Digests of whole files, for which no media library is needed."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SM3, Hash

# 64 KiB hold the interpreter for a third of a millisecond.
_DIGESTED_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Digests:
    """Of a file's bytes, lower-case hexadecimal."""

    size: int
    sha256: str
    sm3: str


def digest(path: Path) -> Digests:
    """Bring a file that is not written any more to the disk and read it once."""
    sha256, sm3, size = hashlib.sha256(), Hash(SM3()), 0
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while piece := file.read(_DIGESTED_BYTES):
            size += len(piece)
            sha256.update(piece)
            sm3.update(piece)
    return Digests(size, sha256.hexdigest(), sm3.finalize().hex())
