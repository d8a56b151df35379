import json
import stat

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from simulators.wechat_pay.keys import ensure_keys


def test_the_list_names_what_the_merchant_was_given(keys_dir, keys):
    listed = json.loads((keys_dir / "wechat_pay.json").read_text())
    assert (listed["mchid"], listed["appid"], listed["staff_appid"]) == (
        "1900000109",
        "wx00000000000demo1",
        "wx00000000000demo2",
    )
    assert len(listed["apiv3_key"]) == 32
    assert listed["public_key_id"].startswith("PUB_KEY_ID_")
    certificate = load_pem_x509_certificate((keys_dir / listed["merchant_certificate_file"]).read_bytes())
    assert f"{certificate.serial_number:040X}" == listed["serial"]
    assert certificate.public_key() == keys.merchant.public_key()
    public = load_pem_public_key((keys_dir / listed["platform_public_key_file"]).read_bytes())
    assert public == keys.platform.public_key()
    assert keys.appids == {"wx00000000000demo1", "wx00000000000demo2"}


def test_all_files_are_for_their_owner_alone(keys_dir):
    files = sorted(path.name for path in keys_dir.iterdir())
    assert files == [
        "wechat_pay.json",
        "wechat_pay_merchant_certificate.pem",
        "wechat_pay_merchant_key.pem",
        "wechat_pay_platform_private_key.pem",
        "wechat_pay_platform_public_key.pem",
    ]
    assert {stat.S_IMODE((keys_dir / name).stat().st_mode) for name in files} == {0o600}


def test_a_second_start_reads_the_same_keys(keys_dir, keys):
    before = {path.name: path.read_bytes() for path in keys_dir.iterdir()}
    assert ensure_keys(keys_dir).public_key_id == keys.public_key_id
    assert {path.name: path.read_bytes() for path in keys_dir.iterdir()} == before


def test_a_set_without_its_list_is_made_anew(tmp_path):
    (tmp_path / "wechat_pay_merchant_key.pem").write_text("half a ke")
    keys = ensure_keys(tmp_path)
    assert ensure_keys(tmp_path).serial == keys.serial
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_key_of_another_kind_is_refused(tmp_path, keys_dir):
    for path in keys_dir.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    # An Ed25519 key, well-formed and of no use.
    (tmp_path / "wechat_pay_merchant_key.pem").write_text(
        "-----BEGIN PRIVATE KEY-----\n"
        "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
        "-----END PRIVATE KEY-----\n"
    )
    with pytest.raises(TypeError, match="holds no RSA key"):
        ensure_keys(tmp_path)
