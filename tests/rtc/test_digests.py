"""Digests of a file."""

import hashlib

from cryptography.hazmat.primitives.hashes import SM3, Hash

from rtc import digests


def test_digests_are_those_of_the_bytes(tmp_path):
    data = bytes(range(256)) * 1000
    (tmp_path / "a").write_bytes(data)
    found, sm3 = digests.digest(tmp_path / "a"), Hash(SM3())
    sm3.update(data)
    assert found == digests.Digests(256_000, hashlib.sha256(data).hexdigest(), sm3.finalize().hex())


def test_the_sm3_is_that_of_the_standard(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # GB/T 32905-2016, A.1
    assert digests.digest(tmp_path / "a").sm3 == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
