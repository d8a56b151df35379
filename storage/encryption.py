"""Fields that must not be readable in a stolen database: sealed with AES-256-GCM, found again by a blind index.

A sealed text names the key it is under, so that a new key can be put first while old texts are still read; they are
sealed anew as they are written, or by a migration that asks `stale`. The field's name is bound into the seal: a sealed
phone copied into another field does not open.
"""

import base64
import binascii
import hashlib
import hmac
import os
import unicodedata
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = "v1"
_NONCE_BYTES = 12  # NIST SP 800-38D §8.2.2: random 96-bit nonces, safe for 2^32 texts under one key
_KEY_BYTES = 32


class Unreadable(ValueError):
    """A sealed text that is not ours, was changed, belongs to another field, or whose key is not at hand."""


class FieldCipher:
    """Seals and opens single fields; `keys` maps key ids to 32 bytes, new texts are sealed under `current`."""

    def __init__(self, keys: Mapping[str, bytes], current: str, index_key: bytes) -> None:
        if current not in keys:
            raise ValueError(f"the current key {current!r} is not among the keys")
        if any(len(key) != _KEY_BYTES for key in (*keys.values(), index_key)):
            raise ValueError("every key has 32 bytes")
        if any(not key_id or "." in key_id for key_id in keys):
            raise ValueError("a key id is a word without a full stop")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current = current
        self._index_key = index_key

    def seal(self, text: str, *, field: str) -> str:
        """`v1.<key id>.<base64url of nonce, ciphertext and tag>`; two seals of the same text differ."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._ciphers[self._current].encrypt(nonce, text.encode(), field.encode())
        return f"{_VERSION}.{self._current}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, sealed: str, *, field: str) -> str:
        """The text; raises Unreadable, and never says what was in it."""
        version, _, rest = sealed.partition(".")
        key_id, _, body = rest.partition(".")
        cipher = self._ciphers.get(key_id)
        if version != _VERSION or cipher is None:
            raise Unreadable(f"field {field!r} is sealed under an unknown key or form")
        try:
            raw = base64.b64decode(body, altchars=b"-_", validate=True)
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], field.encode()).decode()
        except (binascii.Error, InvalidTag, ValueError) as error:
            raise Unreadable(f"field {field!r} does not open: changed, or sealed for another field") from error

    def stale(self, sealed: str) -> bool:
        """Whether the text is under a key that is no longer the current one."""
        return not sealed.startswith(f"{_VERSION}.{self._current}.")

    def blind(self, text: str, *, field: str) -> str:
        """What equal texts of one field have in common: HMAC-SHA256, base64url, for exact look-up and unique indexes.

        Width, case and blanks do not count, so 11010519491231002x finds 11010519491231002X. It does not rotate with the
        keys: a new index key means writing all of them anew.
        """
        plain = "".join(unicodedata.normalize("NFKC", text).upper().split())
        digest = hmac.new(self._index_key, f"{field}\0{plain}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
