import pytest

from simulators.store import Store
from simulators.wechat_login.messages import Messages, check_values
from simulators.wechat_login.state import WeChatError

APPID = "wx00000000000demo1"
FIELDS = {"thing1": "matter", "time2": "at"}
TEMPLATES = {"notice": {"id": "T1", "page": "pages/index/index", "fields": FIELDS}}
DATA = {"thing1": {"value": "您有一条新消息"}, "time2": {"value": "2026-05-04 17:00"}}
MESSAGE = {"touser": "o1", "template_id": "T1", "page": "pages/index/index?visit=V1", "data": DATA}


@pytest.fixture
def messages(io_loop, tmp_path):
    store = Store(tmp_path / "state.sqlite3")
    yield Messages(store, lambda: 1_000.0)
    io_loop.run_sync(store.stop)


def errcode(call, *arguments):
    with pytest.raises(WeChatError) as refused:
        call(*arguments)
    return refused.value.errcode


def test_a_permission_is_used_up_by_a_message(messages):
    messages.allow(APPID, "o1", "T1", 2)
    messages.send(APPID, TEMPLATES, MESSAGE)
    assert messages.allowed(APPID, "o1", "T1") == 1
    (sent,) = messages.sent(APPID, "o1")
    assert sent["data"] == {"thing1": "您有一条新消息", "time2": "2026-05-04 17:00"}
    messages.send(APPID, TEMPLATES, MESSAGE)
    assert errcode(messages.send, APPID, TEMPLATES, MESSAGE) == 43101
    assert len(messages.sent(APPID, "o1")) == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"touser": "stranger"}, 40003),
        ({"touser": None}, 40003),
        ({"template_id": "T2"}, 40037),
        ({"page": "https://example.org/"}, 41030),
        ({"miniprogram_state": "beta"}, 47003),
        ({"data": {}}, 47003),
        ({"data": None}, 47003),
    ],
)
def test_a_message_with_a_mistake_uses_no_permission(messages, change, code):
    messages.allow(APPID, "o1", "T1", 1)
    assert errcode(messages.send, APPID, TEMPLATES, MESSAGE | change) == code
    assert (messages.allowed(APPID, "o1", "T1"), messages.sent(APPID, "o1")) == (1, [])


def test_a_user_who_only_logged_in_has_allowed_nothing(messages):
    messages.meet(APPID, "o1")
    assert errcode(messages.send, APPID, TEMPLATES, MESSAGE) == 43101


@pytest.mark.parametrize(
    ("place", "good", "bad"),
    [
        ("thing1", "一" * 20, "一" * 21),
        ("phrase1", "已接诊", "一二三四五六"),
        ("time1", "2019年10月1日 15:01", "15点"),
        ("date1", "2019-10-01", "明天"),
        ("number1", "12.5", "一"),
        ("amount1", "¥12.50", "12.505"),
        ("character_string1", "A-1", "中文"),
        ("name1", "王小明", "a1"),
        ("letter1", "abc", "a1"),
    ],
)
def test_values_are_of_their_places_type(place, good, bad):
    assert check_values({place: "v"}, {place: {"value": good}}) == {place: good}
    for wrong in (bad, "", None):
        assert errcode(check_values, {place: "v"}, {place: {"value": wrong}}) == 47003
