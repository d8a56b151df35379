import pytest

from core.ports import IdentityCheck, Rejected, Unavailable, Verdict
from integrations.identity import IdentityConfig, TencentIdentityVerifier
from integrations.tencent_cloud import Credentials
from simulators.identity import make_app
from tests.simulators.serving import serve

NUMBER = "11010519491231002X"


@pytest.fixture
def register(io_loop, tmp_path):
    with serve(make_app, tmp_path, io_loop) as served:
        yield served


@pytest.fixture
def verifier_with(io_loop, register):
    """Makes a started verifier."""
    made = []

    async def make(**options):
        keys = Credentials(register.keys["secret_id"], register.keys["secret_key"])
        made.append(TencentIdentityVerifier(IdentityConfig(keys, endpoint=register.url, **options)))
        await made[-1].start()
        return made[-1]

    yield make
    for verifier in made:
        io_loop.run_sync(verifier.close)


@pytest.fixture
def verifier(io_loop, verifier_with):
    return io_loop.run_sync(verifier_with)


@pytest.mark.gen_test
async def test_matching_pair_is_verified_with_provider_and_serial(verifier):
    check = await verifier.verify("张三", NUMBER)
    assert check == IdentityCheck(Verdict.MATCH, "tencent_faceid", check.serial)
    assert len(check.serial) == 36


@pytest.mark.rule("R2-1")
@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("name", "number", "verdict"),
    [
        ("张不符", NUMBER, Verdict.MISMATCH),
        ("张查无", NUMBER, Verdict.NO_RECORD),
        ("张三", "110105194912310021", Verdict.INVALID),
        ("123", NUMBER, Verdict.INVALID),
    ],
)
async def test_all_other_answers_are_not_a_match(verifier, name, number, verdict):
    assert (await verifier.verify(name, number)).verdict is verdict


@pytest.mark.rule("R2-1")
@pytest.mark.gen_test
async def test_another_name_under_a_known_number_is_a_mismatch(verifier, register):
    await register.control("people", name="张三", id_number=NUMBER, verdict="match")
    assert (await verifier.verify("李四", NUMBER)).verdict is Verdict.MISMATCH
    assert (await verifier.verify("张三", NUMBER)).verdict is Verdict.MATCH


@pytest.mark.rule("R2-1")
@pytest.mark.gen_test
@pytest.mark.parametrize("result", ["-4", "-6"])
async def test_register_that_fails_gives_no_verdict(verifier, register, result):
    await register.control("faults", fault="result", code=result)
    with pytest.raises(Unavailable, match=f"result {result}"):
        await verifier.verify("张三", NUMBER)


@pytest.mark.rule("R2-1")
@pytest.mark.gen_test
@pytest.mark.parametrize("result", ["-7", "1", "00", "ok"])
async def test_result_that_is_no_verdict_is_rejected(verifier, register, result):
    await register.control("faults", fault="result", code=result)
    with pytest.raises(Rejected) as refused:
        await verifier.verify("张三", NUMBER)
    assert refused.value.code == f"result_{result}"


@pytest.mark.rule("R2-1")
@pytest.mark.gen_test
@pytest.mark.parametrize("fault", ["timeout", "down"])
async def test_silence_gives_no_verdict(verifier_with, register, fault):
    verifier = await verifier_with(timeout=0.3)
    await register.control("faults", fault=fault, times=1)
    with pytest.raises(Unavailable):
        await verifier.verify("张三", NUMBER)


@pytest.mark.rule("R2-1")
@pytest.mark.gen_test
async def test_service_error_gives_no_verdict(verifier, register):
    await register.control("faults", fault="error", code="FailedOperation.UnKnown")
    with pytest.raises(Rejected, match=r"FailedOperation\.UnKnown"):
        await verifier.verify("张三", NUMBER)
