import pytest

from core.ports import NotSent, Rejected, Unavailable, WeChatTemplate
from integrations.wechat_login import MessageTemplate, WeChatMessageClient

PATH = "/cgi-bin/message/subscribe/send"
VALUES = {"matter": "您有一条新消息", "hint": "请打开小程序查看", "at": "2026-05-04 17:00"}
OPENID = "o-someone"

pytestmark = pytest.mark.gen_test(timeout=20)


@pytest.fixture
def messages_of(calls_of, wechat):
    """Makes the sender of a mini-program's messages."""

    async def make(app="patient", template=None, **changes):
        filed = wechat.keys[app]["templates"]["notice"] | (template or {})
        return WeChatMessageClient(
            await calls_of(app, **changes),
            {WeChatTemplate.NOTICE: MessageTemplate(filed["id"], filed["page"], filed["fields"])},
        )

    return make


async def send(messages, openid=OPENID, **values):
    await messages.send(openid, WeChatTemplate.NOTICE, VALUES | values, query={"visit": "V1"})


async def got(wechat, app="patient"):
    return (await wechat.request("GET", "/_control/messages", params={"app": app, "openid": OPENID})).json()


async def test_a_message_arrives_for_each_permission_and_then_no_more(messages_of, wechat):
    messages = await messages_of()
    await wechat.control("permissions", app="patient", openid=OPENID, count=2)
    await send(messages)
    await send(messages)
    with pytest.raises(Rejected) as refused:
        await send(messages)
    assert refused.value.code == "not_allowed"
    first, second = await got(wechat)
    assert (first["template"], first["page"]) == ("notice", "pages/index/index?visit=V1")
    assert (
        first["data"]
        == second["data"]
        == {
            "thing1": "您有一条新消息",
            "thing2": "请打开小程序查看",
            "time3": "2026-05-04 17:00",
        }
    )


async def test_an_openid_of_the_other_mini_program_is_unknown(messages_of, wechat):
    await wechat.control("permissions", app="staff", openid=OPENID)
    with pytest.raises(Rejected) as refused:
        await send(await messages_of("patient"))
    assert refused.value.code == "unknown_user"
    await send(await messages_of("staff"))
    assert len(await got(wechat, "staff")) == 1


@pytest.mark.parametrize(
    ("template", "values", "code"),
    [
        ({"id": "another"}, {}, "errcode_40037"),
        ({"page": "https://example.org"}, {}, "errcode_41030"),
        ({}, {"matter": "一" * 21}, "errcode_47003"),
        ({}, {"at": "明天"}, "errcode_47003"),
        ({"fields": {"thing1": "matter"}}, {}, "errcode_47003"),
    ],
)
async def test_mistakes_of_template_page_and_values_are_told_and_use_no_permission(
    messages_of, wechat, template, values, code
):
    await wechat.control("permissions", app="patient", openid=OPENID)
    with pytest.raises(Rejected) as refused:
        await send(await messages_of(template=template), **values)
    assert refused.value.code == code
    await send(await messages_of())
    assert len(await got(wechat)) == 1


async def test_a_place_without_a_value_sends_nothing(messages_of, wechat):
    await wechat.control("permissions", app="patient", openid=OPENID)
    with pytest.raises(KeyError):
        await send(await messages_of(template={"fields": {"thing1": "nothing"}}))
    assert await got(wechat) == []


@pytest.mark.parametrize("errcode", [40001, 42001])
async def test_a_refused_token_is_refreshed_once(messages_of, wechat, errcode):
    messages = await messages_of()
    await wechat.control("permissions", app="patient", openid=OPENID, count=2)
    await send(messages)
    if errcode == 40001:
        await wechat.control("tokens/revoke", app="patient")
    else:
        wechat.clock.step(7201)
    await send(messages)
    assert (await wechat.request("GET", "/_control/calls")).json() == {"/cgi-bin/stable_token": 2, PATH: 3}


async def test_a_token_that_stays_refused_means_that_nothing_was_sent(messages_of, wechat):
    messages = await messages_of()
    await wechat.control("faults", fault="error", code=40001)
    with pytest.raises((NotSent, Rejected)):
        await send(messages)


async def test_busy_is_not_sent_and_silence_is_unknown(messages_of, wechat):
    messages = await messages_of(timeout=0.3)
    await wechat.control("permissions", app="patient", openid=OPENID, count=2)
    await send(messages)
    await wechat.control("faults", fault="error", code=-1, times=1)
    with pytest.raises(NotSent):
        await send(messages)
    for fault in ("timeout", "down"):
        await wechat.control("faults", fault=fault, times=1)
        with pytest.raises(Unavailable) as unknown:
            await send(messages)
        assert not isinstance(unknown.value, NotSent)


async def test_a_silence_that_gives_no_token_is_surely_not_sent(messages_of, wechat):
    await wechat.control("faults", fault="timeout", times=1)
    with pytest.raises(NotSent):
        await send(await messages_of(timeout=0.3))


async def test_nobody_listening_is_surely_not_sent(messages_of):
    with pytest.raises(NotSent):
        await send(await messages_of(endpoint="http://127.0.0.1:9"))
