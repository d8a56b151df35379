import time, pytest
@pytest.mark.gen_test(timeout=60)
async def test_a(house):
    t=time.time()
    case = await house.completed()
    print(time.time()-t)
    t=time.time()
    await house.rest(); print(time.time()-t)
    print(await case.standing(), await case.said(), await house.ledger(case.order_id))
    t=time.time()
    case = await house.completed()
    print(time.time()-t)
