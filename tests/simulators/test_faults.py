import httpx
import pytest

from simulators.sms import make_app
from tests.simulators.serving import serve


@pytest.fixture
def simulator(io_loop, tmp_path):
    with serve(make_app, tmp_path, io_loop) as served:
        yield served


@pytest.mark.gen_test
async def test_fault_is_shown_and_taken_away(simulator):
    await simulator.control("faults", fault="reject", code="LimitExceeded", times=2)
    shown = await simulator.request("GET", "/_control/faults")
    assert shown.json() == {"fault": {"fault": "reject", "code": "LimitExceeded", "times": 2}}
    await simulator.request("DELETE", "/_control/faults")
    assert (await simulator.request("GET", "/_control/faults")).json() == {"fault": None}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "body",
    [{}, {"fault": "slow"}, {"fault": "down", "times": 0}, {"fault": "down", "times": True}, {"fault": "reject"}],
)
async def test_fault_that_makes_no_sense_is_refused(simulator, body):
    answer = await simulator.request("POST", "/_control/faults", json=body)
    assert answer.status_code == 400
    assert (await simulator.request("GET", "/_control/faults")).json() == {"fault": None}


@pytest.mark.gen_test
async def test_counted_fault_ends_and_the_control_pages_never_suffer(simulator):
    await simulator.control("faults", fault="down", times=2)
    for left in (1, None):
        with pytest.raises(httpx.RemoteProtocolError):
            await simulator.request("POST", "/", content=b"{}")
        fault = (await simulator.request("GET", "/_control/faults")).json()["fault"]
        assert (fault and fault["times"]) == left
    assert (await simulator.request("POST", "/", content=b"{}")).status_code == 200


@pytest.mark.gen_test
async def test_fault_outlives_a_restart(simulator, io_loop, tmp_path):
    await simulator.control("faults", fault="timeout")
    application = make_app(tmp_path / "state", tmp_path / "keys")
    assert application.settings["faults"].show() == {"fault": "timeout", "code": None, "times": None}
    await application.settings["stop"]()
