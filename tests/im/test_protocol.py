import pytest

from im.frames import Close
from tests.im.house import stored

pytestmark = pytest.mark.gen_test(timeout=20)

TEXT = 0x1


async def send(line, *parts: bytes) -> None:
    """A text message of these bytes, in as many frames of RFC 6455."""
    protocol = line.connection.protocol
    for number, part in enumerate(parts):
        await protocol._write_frame(number == len(parts) - 1, TEXT if number == 0 else 0x0, part)


@pytest.mark.parametrize(
    "parts", [(b"\xff\xfe",), (b'{"id":"1","op":"ping\xe4\xbd"}',), (b'{"id":"\xed', b'\xa0\x80"}')]
)
async def test_text_that_is_not_utf8_closes_with_4009_and_a_reason(server, visit, indexed, parts):
    line = await server.line(visit.patient)
    await send(line, *parts)
    assert await line.closed() == (Close.PROTOCOL_ERROR, "frames are text")
    assert await stored(indexed, visit.id) == []


async def test_a_character_may_be_cut_between_two_frames(server, visit):
    line = await server.line(visit.patient)
    said = (
        f'{{"id":"1","op":"message.send","args":{{"conversation":"{visit.id}","kind":"text","body":{{"text":"好"}}}}}}'
    )
    raw = said.encode()
    cut = raw.index("好".encode()) + 1
    await send(line, raw[:cut], raw[cut:])
    assert (await line.event("message.created", seq=1))["body"] == {"text": "好"}
