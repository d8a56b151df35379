from dataclasses import replace

import pytest
from wechatpayv3.async_ import WeChatPayType

from integrations.wechat_pay.client import make_client
from tests.simulators.wechat_pay.stand import BOUND


@pytest.mark.gen_test(timeout=BOUND)
async def test_the_client_talks_to_the_configured_address_and_to_no_other(stand, config):
    client = make_client(replace(config, base_url=f"{stand.url}/"))
    async with client:
        status, _ = await client.pay(
            description="图文咨询",
            out_trade_no="ORDER0000000001",
            amount={"total": 1, "currency": "CNY"},
            payer={"openid": "o-patient-1"},
        )
    [order] = await stand.show("orders")
    assert (status, order["out_trade_no"]) == (200, "ORDER0000000001")


def test_the_vendors_own_address_is_the_default(config):
    client = make_client(replace(config, base_url="https://api.mch.weixin.qq.com"))
    assert client._core._gate_way == "https://api.mch.weixin.qq.com"


def test_the_client_is_in_public_key_mode_and_opens_jsapi_orders(config):
    client = make_client(config)
    assert client._core._public_key_id == config.platform_public_key_id
    assert client._type is WeChatPayType.JSAPI
