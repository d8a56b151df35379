import pytest
from structlog.testing import capture_logs
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from core.ports import Rejected, Unavailable
from integrations.tencent_cloud import Credentials, TencentCloud, authorization, is_temporary
from simulators.identity import make_app
from tests.simulators.serving import serve

# The example of the vendor's document "Signature v3": request, keys and the signature it must give.
EXAMPLE_KEYS = Credentials("AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE")
EXAMPLE_PAYLOAD = rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}'
EXAMPLE_AUTHORIZATION = (
    "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE/2019-02-25/cvm/tc3_request, "
    "SignedHeaders=content-type;host, Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
)


@pytest.fixture
def register(io_loop, tmp_path):
    with serve(make_app, tmp_path, io_loop) as served:
        yield served


@pytest.fixture
def cloud_at(io_loop, register):
    """Makes a started client of an address."""
    made = []

    async def make(url=register.url, **options):
        keys = Credentials(register.keys["secret_id"], register.keys["secret_key"])
        made.append(TencentCloud(url, keys, service="faceid", version="2018-03-01", **options))
        await made[-1].start()
        return made[-1]

    yield make
    for client in made:
        io_loop.run_sync(client.close)


@pytest.fixture
def cloud(io_loop, cloud_at):
    return io_loop.run_sync(cloud_at)


PERSON = {"Name": "张三", "IdCard": "11010519491231002X"}


def test_signature_is_the_one_of_the_vendors_example():
    headers = {"Host": "cvm.tencentcloudapi.com", "Content-Type": "application/json; charset=utf-8"}
    signed = authorization(EXAMPLE_KEYS, service="cvm", headers=headers, payload=EXAMPLE_PAYLOAD, timestamp=1551113065)
    assert signed == EXAMPLE_AUTHORIZATION


def test_credentials_do_not_print_their_key():
    assert "EXAMPLE" in repr(EXAMPLE_KEYS)
    assert EXAMPLE_KEYS.secret_key not in repr(EXAMPLE_KEYS)


@pytest.mark.parametrize(
    ("code", "temporary"),
    [
        ("InternalError", True),
        ("InternalError.Timeout", True),
        ("RequestLimitExceeded.IPLimitExceeded", True),
        ("LimitExceeded.PhoneNumberDailyLimit", False),
        ("AuthFailure.SignatureFailure", False),
        ("AuthFailure.SignatureExpire", True),
        ("FailedOperation", False),
    ],
)
def test_only_some_errors_ask_to_be_called_again(code, temporary):
    assert is_temporary(code) is temporary


@pytest.mark.gen_test
async def test_call_answers_the_response_with_its_request_id(cloud):
    response = await cloud.call("IdCardVerification", PERSON)
    assert (response["Result"], response["Description"], len(response["RequestId"])) == ("0", "姓名和身份证号一致", 36)


@pytest.mark.gen_test
async def test_error_is_rejected_with_the_vendors_code(cloud, register):
    await register.control("faults", fault="error", code="FailedOperation.Arrears")
    with pytest.raises(Rejected) as refused:
        await cloud.call("IdCardVerification", PERSON)
    assert refused.value.code == "FailedOperation.Arrears"


@pytest.mark.gen_test
async def test_temporary_error_is_unavailable(cloud, register):
    await register.control("faults", fault="error", code="InternalError.Timeout")
    with pytest.raises(Unavailable, match=r"InternalError\.Timeout"):
        await cloud.call("IdCardVerification", PERSON)


@pytest.mark.gen_test
@pytest.mark.parametrize(("fault", "cause"), [("timeout", "TimeoutError|ReadTimeout"), ("down", "RemoteProtocolError")])
async def test_silence_is_unavailable_and_the_next_call_is_answered(cloud, cloud_at, register, fault, cause):
    await register.control("faults", fault=fault, times=1)
    hasty = await cloud_at(timeout=0.3)
    with pytest.raises(Unavailable, match=cause) as gone:
        await hasty.call("IdCardVerification", PERSON)
    assert gone.value.__cause__ is None
    assert (await cloud.call("IdCardVerification", PERSON))["Result"] == "0"


@pytest.mark.gen_test
async def test_nothing_listening_is_unavailable(cloud_at):
    (socket,) = bind_sockets(0, "127.0.0.1")
    port = socket.getsockname()[1]
    socket.close()
    cloud = await cloud_at(f"http://127.0.0.1:{port}")
    with pytest.raises(Unavailable, match="ConnectError"):
        await cloud.call("IdCardVerification", PERSON)


@pytest.fixture
def page(io_loop):
    """Serves one page whatever is asked; answers its address."""
    servers = []

    def put(status, body):
        class Page(RequestHandler):
            def post(self):
                self.set_status(status)
                self.finish(body)

        servers.append(HTTPServer(Application([("/", Page)])))
        sockets = bind_sockets(0, "127.0.0.1")
        servers[-1].add_sockets(sockets)
        return f"http://127.0.0.1:{sockets[0].getsockname()[1]}"

    yield put
    for server in servers:
        server.stop()
        io_loop.run_sync(server.close_all_connections)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (502, "<html>Bad Gateway</html>"),
        (200, "[]"),
        (200, {"Response": {"Result": "0"}}),
        (200, {"Response": {"Error": "?", "RequestId": "r"}}),
    ],
)
async def test_answer_that_cannot_be_read_is_unavailable(cloud_at, page, status, body):
    cloud = await cloud_at(page(status, body))
    with pytest.raises(Unavailable):
        await cloud.call("IdCardVerification", PERSON)


@pytest.mark.gen_test
async def test_client_that_is_closed_is_unavailable(cloud):
    await cloud.close()
    with pytest.raises(Unavailable, match="not started"):
        await cloud.call("IdCardVerification", PERSON)


@pytest.mark.gen_test
async def test_log_holds_action_status_and_duration_alone(cloud, register):
    await register.control("faults", fault="error", code="InternalError", times=1)
    with capture_logs() as lines:
        with pytest.raises(Unavailable):
            await cloud.call("IdCardVerification", PERSON)
        await cloud.call("IdCardVerification", PERSON)
    assert all(line.pop("duration_ms") >= 0 for line in lines)
    known = {"event": "outside.called", "log_level": "info", "system": "faceid", "action": "IdCardVerification"}
    assert lines == [known | {"status": 200, "code": "InternalError"}, known | {"status": 200, "code": None}]
