"""HTTP servers that close after each answer, as Python's http.server does, and those that close a kept connection."""

import asyncio
import re

import splnode
from splnode.avro.protocol import Protocol
from splnode.endpoint import Endpoint
from splnode.wire.handshake import BOTH, HandshakeResponse, Match, write_response
from splnode.wire.spec import spec_frame
from tests.net.conftest import peer, turns

OWN = Protocol.parse('{"protocol": "Own", "messages": {"count": {"request": [], "response": "int"}}}')
THEIRS = Protocol.parse('{"protocol": "Own", "doc": "x", "messages": {"count": {"request": [], "response": "int"}}}')
NONE = spec_frame(write_response(HandshakeResponse(Match.NONE, THEIRS.text, THEIRS.md5)), b"\0\0")


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    assert length is not None
    return await reader.readexactly(int(length[1]))


async def test_a_handshake_in_two_posts_over_two_connections() -> None:
    """No length, no keep-alive: the end of the connection is the end of the answer (HTTP/1.0)."""
    requests: list[bytes] = []

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        known = THEIRS.md5 in requests[-1]
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: avro/binary\r\n\r\n")
        writer.write(spec_frame(BOTH, b"\0", b"\0", bytes([2 * len(requests)])) if known else NONE)

    async with peer(closing) as endpoint:
        where = Endpoint("http+avro", endpoint.host, endpoint.port, "/", framing="http")
        async with splnode.connect(where, OWN) as client:
            assert await client.count() == 2
            assert await client.count() == 3
            assert [THEIRS.md5 in request for request in requests] == [False, True, True]


async def test_a_kept_connection_that_the_server_closed_meanwhile() -> None:
    closed = asyncio.Event()
    connections = 0

    async def impatient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_request(reader)
        answer = spec_frame(BOTH, b"\0", b"\0", bytes([2 * connections]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with peer(impatient) as endpoint:
        where = Endpoint("http+avro", endpoint.host, endpoint.port, "/", framing="http")
        async with splnode.connect(where, OWN) as client:
            assert await client.count() == 1
            await closed.wait()
            await turns()
            assert await client.count() == 2
