import base64
import json
from dataclasses import replace

import jwt
import pytest

from app.settings import BadSettings
from scripts import rekey
from storage.encryption import FieldCipher
from tests.hospital import open_test_hospital
from tests.people import new_phone

NEW = base64.b64encode(b"n" * 32).decode()


@pytest.mark.rule("R6-5")
@pytest.mark.gen_test(timeout=60)
async def test_the_key_of_field_encryption_is_changed_while_the_hospital_serves(mongo_uri, redis_url, tmp_path):
    async with open_test_hospital(mongo_uri, redis_url, "rekeyed", tmp_path) as first:
        keys = {**json.loads(first.settings.field_keys), "k2": NEW}
        old = await first.person().login_by_wechat(first.outside, new_phone())
    both = {"field_keys": json.dumps(keys), "field_key": "k2"}
    async with open_test_hospital(mongo_uri, redis_url, "rekeyed", tmp_path, **both) as serving:
        visitor = await serving.person().login_by_wechat(serving.outside, new_phone())
        settings = replace(serving.settings, **both)
        done = await rekey.run(settings)
        assert (done["accounts"].documents, done["accounts"].fields) == (2, 1)
        assert (await visitor.get("/me"))["id"] == visitor.account["id"]
        assert (await rekey.run(settings))["accounts"].fields == 0
        account = await serving.ctx.accounts.get(old.account["id"])
        alone = FieldCipher({"k2": b"n" * 32}, "k2", b"b" * 32)
        assert alone.open(account["phone"], field="accounts.phone").startswith("1997")
        await serving.ctx.store.drop()


def test_wrong_settings_are_one_line_and_1(monkeypatch, capsys):
    def refuse():
        raise BadSettings("FIELD_KEYS has no key k9")

    monkeypatch.setattr(rekey, "read", refuse)
    assert rekey.main() == 1
    assert capsys.readouterr().err == "FIELD_KEYS has no key k9\n"


@pytest.mark.rule("R6-4")
@pytest.mark.gen_test(timeout=60)
async def test_the_key_of_tokens_is_changed_and_nobody_is_logged_out(mongo_uri, redis_url, tmp_path):
    async with open_test_hospital(mongo_uri, redis_url, "retokened", tmp_path) as first:
        keys = {**json.loads(first.settings.token_keys), "k2": NEW}
        old = await first.person().login_by_wechat(first.outside, new_phone())
    rotated = {"token_keys": json.dumps(keys), "token_key": "k2"}
    async with open_test_hospital(mongo_uri, redis_url, "retokened", tmp_path, **rotated) as serving:
        same = serving.person()
        same.token = old.token
        assert (await same.get("/me"))["id"] == old.account["id"]
        renewed = await same.post("/auth/refresh", {"refresh_token": old.refresh_token})
        kids = [jwt.get_unverified_header(token)["kid"] for token in (old.token, renewed["access_token"])]
        assert kids == ["demo-1", "k2"]
        await serving.ctx.store.drop()
