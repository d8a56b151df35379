import pytest

from core.ports import NotSent, Rejected
from integrations.wechat_login.calls import require_accepted

pytestmark = pytest.mark.gen_test(timeout=20)


@pytest.mark.parametrize("answer", [{}, {"errcode": 0}])
async def test_no_errcode_and_zero_are_well(answer):
    require_accepted(answer)


@pytest.mark.parametrize(("errcode", "error"), [(-1, NotSent), (45011, NotSent), (40037, Rejected)])
async def test_busy_is_not_sent_and_all_else_is_a_no(errcode, error):
    with pytest.raises(error):
        require_accepted({"errcode": errcode})


async def test_a_call_with_the_token_carries_it_in_the_address(calls_of, wechat):
    calls = await calls_of()
    code = (await wechat.control("codes", phone="13800000001"))["phone_code"]
    answer = await calls.call_with_token("/wxa/business/getuserphonenumber", {"code": code})
    assert answer["phone_info"]["purePhoneNumber"] == "13800000001"


async def test_calls_that_are_closed_send_nothing(calls_of):
    calls = await calls_of()
    await calls.close()
    with pytest.raises(NotSent, match="not started"):
        await calls.call_with_token("/any", {})
