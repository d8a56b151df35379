"""Resumable uploads as a client sends them, by HTTP or by a socket of its own that can be cut."""

import asyncio
import base64
import hashlib
from typing import Any

from core.auth import Caller
from core.context import Context
from core.policy import MIB
from tests.core.media import making
from tests.core.media.conftest import Api, left_in

OFFSET_STREAM = "application/offset+octet-stream"
TUS = {"Tus-Resumable": "1.0.0"}


def a_document(length: int, seed: bytes = b"document") -> bytes:
    """A PDF, which is kept as it came, of this many bytes that are all over different."""
    noise = b"".join(hashlib.sha256(seed + n.to_bytes(4, "big")).digest() for n in range(length // 32 + 1))
    return (making.PDF + noise)[:length]


def said_of(mime: str) -> str:
    """An `Upload-Metadata` that names the type."""
    return "filetype " + base64.b64encode(mime.encode()).decode() + ",filename 5paH5Lu2"


async def begun(api: Api, caller: Caller | None, length: int, mime: str = "application/pdf", **more: str) -> Any:
    """The answer to a POST."""
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": said_of(mime)}
    headers |= {name.replace("_", "-"): said for name, said in more.items()}
    return await api.call("POST", "/media/uploads", caller, headers=headers)


async def address(api: Api, caller: Caller, length: int, mime: str = "application/pdf") -> str:
    """Where a new upload goes."""
    answer = await begun(api, caller, length, mime)
    assert (answer.status_code, answer.content) == (201, b"")
    return str(answer.headers["Location"])


async def patched(api: Api, caller: Caller | None, where: str, offset: int, content: Any, **more: str) -> Any:
    """The answer to a PATCH."""
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": OFFSET_STREAM}
    headers |= {name.replace("_", "-"): said for name, said in more.items()}
    return await api.call("PATCH", where, caller, headers=headers, content=content)


async def asked(api: Api, method: str, where: str, caller: Caller | None) -> Any:
    """The answer to HEAD, GET or DELETE."""
    return await api.call(method, where, caller, headers=TUS)


async def offset_of(api: Api, where: str, caller: Caller) -> int:
    answer = await asked(api, "HEAD", where, caller)
    assert answer.status_code == 204
    return int(answer.headers["Upload-Offset"])


async def cut(api: Api, caller: Caller, where: str, offset: int, content: bytes, after: int, *, chunked: bool) -> None:
    """A PATCH of `content` whose connection is lost after so many bytes of it."""
    lines = {"Host": "x", **api.bearer(caller), **TUS, "Upload-Offset": str(offset), "Content-Type": OFFSET_STREAM}
    lines |= {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(content))}
    head = f"PATCH {where} HTTP/1.1\r\n" + "".join(f"{name}: {said}\r\n" for name, said in lines.items()) + "\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    size = f"{len(content):x}\r\n".encode() if chunked else b""
    writer.write(head.encode() + size + content[:after])
    try:
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    except ConnectionError:  # it was refused while we were sending
        pass


async def left_of_uploads(ctx: Context) -> dict[str, int]:
    """How many documents there are of everything that an upload leaves; those of uploads themselves by state."""
    counts = await left_in(ctx) | {"pieces": len(await ctx.store.db["upload_pieces"].find({}).to_list(None))}
    for upload in await ctx.store.db["uploads"].find({}).to_list(None):
        counts[upload["status"]] = counts.get(upload["status"], 0) + 1
    return counts


NOTHING_LEFT = {"media": 0, "files.files": 0, "files.chunks": 0, "pieces": 0}
LIMIT = MIB  # of files and images in these tests
