import pytest

from integrations.tencent_cloud import Credentials, TencentCloud
from simulators.identity import make_app
from simulators.identity.app import is_number
from tests.simulators.serving import serve

NUMBER = "11010519491231002X"
OTHER = "440524188001010014"


@pytest.fixture
def simulator(io_loop, tmp_path):
    with serve(make_app, tmp_path, io_loop) as served:
        yield served


@pytest.fixture
def result(io_loop, simulator):
    """Asks for a pair; answers the `Result`."""
    keys = Credentials(simulator.keys["secret_id"], simulator.keys["secret_key"])
    client = TencentCloud(simulator.url, keys, service="faceid", version="2018-03-01")

    async def ask(name, number):
        return (await client.call("IdCardVerification", {"Name": name, "IdCard": number}))["Result"]

    io_loop.run_sync(client.start)
    yield ask
    io_loop.run_sync(client.close)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (NUMBER, True),
        (OTHER, True),
        ("510104199003071237", True),
        ("412825199412252999", False),
        ("11010519491231002x", False),
        ("110105194913310023", False),
        ("1101051949123100", False),
    ],
)
def test_number_holds_by_length_date_and_check_character(text, holds):
    assert is_number(text) is holds


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("张三", NUMBER, "0"),
        ("阿依古丽·买买提", NUMBER, "0"),
        ("张三", "412825199412252999", "-2"),
        ("Zhang", NUMBER, "-3"),
        ("张", NUMBER, "-3"),
        ("王不符", NUMBER, "-1"),
        ("王查无", NUMBER, "-5"),
        ("王故障", NUMBER, "-4"),
    ],
)
async def test_answer_follows_from_number_and_name(result, name, number, expected):
    assert await result(name, number) == expected


@pytest.mark.gen_test
async def test_known_match_contradicts_every_other_name(result, simulator):
    await simulator.control("people", name="张三", id_number=NUMBER, verdict="match")
    assert [await result("张三", NUMBER), await result("李四", NUMBER), await result("李四", OTHER)] == ["0", "-1", "0"]


@pytest.mark.gen_test
async def test_known_mismatch_holds_for_its_name(result, simulator):
    await simulator.control("people", name="张三", id_number=NUMBER, verdict="mismatch")
    assert [await result("张三", NUMBER), await result("李四", NUMBER)] == ["-1", "0"]


@pytest.mark.gen_test
@pytest.mark.parametrize(("verdict", "expected"), [("no_record", "-5"), ("invalid", "-2"), ("error", "-4")])
async def test_other_verdicts_hold_for_the_number_until_it_is_forgotten(result, simulator, verdict, expected):
    await simulator.control("people", name="张三", id_number=NUMBER, verdict=verdict)
    assert [await result("张三", NUMBER), await result("李四", NUMBER)] == [expected] * 2
    await simulator.control("people", name="张三", id_number=NUMBER, verdict=None)
    assert await result("张三", NUMBER) == "0"


@pytest.mark.gen_test
@pytest.mark.parametrize("body", [{}, {"name": "张三", "id_number": NUMBER, "verdict": "maybe"}])
async def test_person_that_makes_no_sense_is_refused(result, simulator, body):
    assert (await simulator.request("POST", "/_control/people", json=body)).status_code == 400
    assert await result("张三", NUMBER) == "0"


@pytest.mark.gen_test
async def test_people_outlive_a_restart(simulator, tmp_path):
    await simulator.control("people", name="张三", id_number=NUMBER, verdict="match")
    application = make_app(tmp_path / "state", tmp_path / "keys")
    assert application.settings["store"].latest("person", NUMBER) == {"name": "张三", "verdict": "match"}
    await application.settings["stop"]()
