"""The one place that makes the vendor library's client."""

from wechatpayv3.async_ import AsyncWeChatPay, WeChatPayType

from integrations.wechat_pay.config import WeChatPayConfig


def make_client(config: WeChatPayConfig) -> AsyncWeChatPay:
    """A client in public-key mode that talks to `config.base_url`; to be entered before use.

    wechatpayv3 2.0.4 has no option for the address, so a private attribute is set here and nowhere else. In public-key
    mode the constructor calls nobody, so it is set in time. The enum must be the one of `wechatpayv3.async_`: the
    library compares it by identity with its own.
    """
    client = AsyncWeChatPay(
        wechatpay_type=WeChatPayType.JSAPI,
        mchid=config.mchid,
        private_key=config.merchant_private_key,
        cert_serial_no=config.merchant_serial,
        appid=config.appid,
        apiv3_key=config.apiv3_key,
        notify_url=config.pay_notify_url,
        # (connect, each read): the whole call is bounded by the adapter.
        timeout=(config.timeout, config.timeout),
        public_key=config.platform_public_key,
        public_key_id=config.platform_public_key_id,
    )
    client._core._gate_way = config.base_url.rstrip("/")
    return client
