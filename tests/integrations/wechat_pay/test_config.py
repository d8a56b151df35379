import json
from dataclasses import FrozenInstanceError, replace

import pytest

from integrations.wechat_pay import WeChatPayConfig


def test_the_list_of_a_merchant_is_read_with_the_files_beside_it(stand, config):
    listed = stand.listed
    assert (config.mchid, config.appid, config.merchant_serial) == (listed["mchid"], listed["appid"], listed["serial"])
    assert config.merchant_private_key.startswith("-----BEGIN PRIVATE KEY-----")
    assert config.platform_public_key.startswith("-----BEGIN PUBLIC KEY-----")
    assert config.platform_public_key_id == listed["public_key_id"]


def test_the_callbacks_live_under_one_address(config):
    config = replace(config, notify_url_base="https://hospital.example/api/v1/notify/")
    assert config.pay_notify_url == "https://hospital.example/api/v1/notify/wechat-pay"
    assert config.refund_notify_url == "https://hospital.example/api/v1/notify/wechat-refund"


def test_secrets_are_not_shown(config):
    assert config.apiv3_key not in repr(config)
    assert "PRIVATE KEY" not in repr(config)


def test_it_cannot_be_changed(config):
    with pytest.raises(FrozenInstanceError):
        config.mchid = "1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"apiv3_key": "too-short"},
        {"base_url": "ftp://127.0.0.1"},
        {"base_url": "127.0.0.1:9301"},
        {"notify_url_base": "https://hospital.example/notify?token=1"},
        {"notify_url_base": ""},
        {"timeout": 0},
    ],
)
def test_what_cannot_be_right_is_refused(config, wrong):
    with pytest.raises(ValueError):
        replace(config, **wrong)


def test_a_list_with_a_number_missing_names_it(stand, tmp_path):
    listed = {name: value for name, value in stand.listed.items() if name != "serial"}
    for name in ("merchant_private_key_file", "platform_public_key_file"):
        (tmp_path / listed[name]).write_bytes((stand.keys_dir / listed[name]).read_bytes())
    (tmp_path / "list.json").write_text(json.dumps(listed))
    with pytest.raises(ValueError, match=r"list\.json names no serial"):
        WeChatPayConfig.read(tmp_path / "list.json", notify_url_base="https://hospital.example/notify")
