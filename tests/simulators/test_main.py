import asyncio
import importlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from simulators.__main__ import SIMULATORS
from tests.simulators.wechat_pay.stand import Stand

ROOT = Path(__file__).parents[2]
BOUND = 20


@asynccontextmanager
async def simulators(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command as a process; killed at the end when it still lives."""
    command = ["-m", "simulators", "--state-dir", f"{folder}/state", "--keys-dir", f"{folder}/keys", *arguments]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """Name and address of the next simulator that answers."""
    async with asyncio.timeout(BOUND):
        line = (await process.stdout.readline()).decode()
    word, name, url = line.split()
    assert word == "ready"
    return name, url


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    async with asyncio.timeout(BOUND):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


def test_every_simulator_of_the_table_can_be_made():
    assert [each.name for each in SIMULATORS] == ["wechat_pay", "wechat_login", "sms", "identity"]
    for each in SIMULATORS:
        assert callable(importlib.import_module(f"simulators.{each.name}").make_app)


@pytest.mark.gen_test(timeout=BOUND)
async def test_all_are_ready_with_their_keys_and_end_on_a_signal(tmp_path):
    ports = [argument for each in SIMULATORS for argument in (each.option, "0")]
    async with simulators(tmp_path, *ports) as process:
        found = [await ready(process) for _ in SIMULATORS]
        assert (tmp_path / "keys" / "wechat_pay.json").exists()
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == (0, "", "")
    assert [name for name, _ in found] == [each.name for each in SIMULATORS]
    assert all(url.startswith("http://127.0.0.1:") for _, url in found)


@pytest.mark.gen_test(timeout=BOUND)
async def test_an_interrupt_ends_it_as_well(tmp_path):
    async with simulators(tmp_path, "--only", "wechat_pay", "--wechat-pay-port", "0") as process:
        assert (await ready(process))[0] == "wechat_pay"
        process.send_signal(signal.SIGINT)
        assert await ended(process) == (0, "", "")


@pytest.mark.gen_test(timeout=BOUND)
async def test_a_port_that_is_taken_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with simulators(tmp_path, "--only", "wechat_pay", "--wechat-pay-port", str(port)) as process:
            status, output, errors = await ended(process)
    assert (status, output) == (1, "")
    assert errors == f"simulators: wechat_pay cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.gen_test(timeout=2 * BOUND)
async def test_a_kill_loses_neither_the_payment_nor_its_notification(io_loop, tmp_path):
    """Paid, killed before anybody was told, started again: the merchant is told."""
    arguments = ("--only", "wechat_pay", "--wechat-pay-port", "0")
    merchant = Stand(tmp_path / "beside", tmp_path / "keys")
    await merchant.start()
    order = merchant.order()
    async with simulators(tmp_path, *arguments) as process:
        _, url = await ready(process)
        async with httpx.AsyncClient(base_url=url, verify=False) as http:
            await http.post("/_control/faults", json={"notify_delay": 1.0})
            merchant._http.base_url = url
            assert (await merchant.call("POST", "/v3/pay/transactions/jsapi", order)).status_code == 200
            assert (await http.post(f"/_control/pay/{order['out_trade_no']}")).status_code == 200
        process.kill()
    assert merchant.mailbox.arrived.empty()
    async with simulators(tmp_path, *arguments) as process:
        _, url = await ready(process)
        told = await merchant.mailbox.next()
        async with httpx.AsyncClient(base_url=url, verify=False) as http:
            ledger = (await http.get("/_control/ledger")).json()
    assert told.content(merchant.listed["apiv3_key"])["out_trade_no"] == order["out_trade_no"]
    assert ledger["held"] == 5000
    await merchant.stop()
