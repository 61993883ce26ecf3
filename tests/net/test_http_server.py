"""HTTP as it comes: written byte for byte."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import splnode
from splnode.avro.codec import encoder
from splnode.errors import CallError, Code
from splnode.limits import Limits
from splnode.net import http_server, watched
from splnode.net.listener import Listener
from splnode.rpc.call import Peer
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.directory import Directory
from splnode.wire.handshake import HandshakeRequest, write_request
from splnode.wire.primitive import write_string
from splnode.wire.spec import spec_frame
from tests.rpc.conftest import PROTOCOL, Inventory

HELLO = write_request(HandshakeRequest(PROTOCOL.md5, None, PROTOCOL.md5))
ADD = HELLO + b"\0" + write_string("add") + encoder(PROTOCOL.messages["add"].request).encode({"a": 1, "b": 2})
BODY = spec_frame(ADD)
THREE = spec_frame(bytes(4), b"\0", b"\0", b"\x06")


def post(body: bytes, path: str = "/", more: str = "", kind: str = "avro/binary") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


class Web:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inventory: Inventory) -> None:
        self.reader, self.writer, self.inventory = reader, writer, inventory

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)).decode()
        status, *lines = head.strip().split("\r\n")
        headers = {key.lower(): value.strip() for key, value in (line.split(":", 1) for line in lines)}
        body = await asyncio.wait_for(self.reader.readexactly(int(headers.get("content-length", 0))), 20)
        return int(status.split()[1]), headers, body

    async def ended(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 20) == b""


IMPATIENT = pytest.mark.parametrize("handshake", [0.3])
"""For those who wait for the end of a patience; the others have time, however slow the machine is."""


@pytest.fixture
def handshake() -> float:
    """Seconds that a peer has for its first request."""
    return 20.0


@pytest.fixture
async def web(handshake: float) -> AsyncIterator[Web]:
    inventory = Inventory()
    limits = Limits(handshake_seconds=handshake, message_bytes=100_000)
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: inventory}, limits=limits) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoints[0].port)
        yield Web(reader, writer, inventory)
        writer.close()


async def test_a_call_is_a_post(web: Web) -> None:
    web.writer.write(post(BODY))
    status, headers, body = await web.answer()
    assert (status, headers["content-type"], body) == (200, "avro/binary", THREE)


async def test_a_byte_at_a_time(web: Web) -> None:
    for byte in post(BODY):
        web.writer.write(bytes([byte]))
        await web.writer.drain()
    assert (await web.answer())[2] == THREE


async def test_chunked_and_with_junk_behind_the_terminator(web: Web) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = BODY + bytes(4)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:]))
    web.writer.write(head + chunks + b"0\r\n\r\n")
    assert (await web.answer())[2] == THREE


async def test_one_connection_many_calls_written_at_once(web: Web) -> None:
    web.writer.write(post(BODY) * 20)
    for _ in range(20):
        assert (await web.answer())[2] == THREE


async def test_asking_first_whether_to_send_the_body(web: Web) -> None:
    whole = post(BODY, more="Expect: 100-continue\r\n")
    web.writer.write(whole[: -len(BODY)])
    assert (await asyncio.wait_for(web.reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 100")
    web.writer.write(BODY)
    assert (await web.answer())[2] == THREE


async def test_http_1_0_is_answered_and_closed(web: Web) -> None:
    web.writer.write(post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await web.answer())[2] == THREE
    assert await web.ended()


async def test_one_way_gets_a_full_reply(web: Web) -> None:
    encode = encoder(PROTOCOL.messages["tell"].request).encode
    web.writer.write(post(spec_frame(HELLO + b"\0" + write_string("tell") + encode({"text": "hi"}))))
    assert (await web.answer())[2] == spec_frame(bytes(4), b"\0", b"\0", b"")
    assert web.inventory.told == ["hi"]


@pytest.mark.parametrize(
    ("request_bytes", "status", "said"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 405, b"POST"),
        (post(b"{}", kind="application/json"), 415, b"Content-Type must be avro/binary, not application/json"),
        (post(bytes(200_000)), 413, b"message_bytes = 100000"),
        (post(b"\xff" * 50), 400, b""),
        (post(b""), 400, b""),
        (post(BODY[:-6]), 400, b""),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400, b""),
        (b"POST / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000, 431, b""),
    ],
)
async def test_what_is_refused_says_why_and_closes(web: Web, request_bytes: bytes, status: int, said: bytes) -> None:
    web.writer.write(request_bytes)
    got, _, body = await web.answer()
    assert got == status
    assert said in body
    assert web.inventory.told == []


async def test_a_client_that_goes_cancels_its_call(web: Web) -> None:
    web.writer.write(post(spec_frame(HELLO + b"\0" + write_string("wait") + write_string("x"))))
    await asyncio.wait_for(web.inventory.began.wait(), 20)
    web.writer.close()
    await asyncio.wait_for(web.inventory.cancelled.wait(), 20)


@IMPATIENT
async def test_a_request_that_never_ends_is_dropped(web: Web) -> None:
    web.writer.write(post(BODY)[:-1])
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await web.answer()


async def test_many_pings_written_at_once(web: Web) -> None:
    ping = post(spec_frame(HELLO + b"\0\0"))
    web.writer.write(ping * 3000)
    for _ in range(3000):
        assert (await web.answer())[0] == 200


async def test_a_second_request_that_never_ends_is_dropped(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "STALLED", 0.2)
    web.writer.write(post(BODY))
    assert (await web.answer())[2] == THREE
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(web.reader.read(1), 0.5)  # who asks for nothing may stay
    web.writer.write(post(BODY)[:-1])
    assert await web.ended()


async def test_an_offer_of_http_2_is_not_taken(web: Web) -> None:
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    for _ in range(2):
        web.writer.write(post(BODY, more=offer))
        assert (await web.answer())[2] == THREE


def echo(size: int) -> bytes:
    value = encoder(PROTOCOL.messages["echo"].request).encode({"value": "x" * size})
    return post(spec_frame(HELLO + b"\0" + write_string("echo") + value))


async def test_who_pipelines_and_does_not_read_gets_no_more_run_and_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watched, "STALLED", 0.3)
    inventory, ran = Inventory(), 0

    def counting(value: object) -> object:
        nonlocal ran
        ran += 1
        return value

    inventory.echo = counting  # type: ignore[method-assign]  # to count
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: inventory}) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.endpoints[0].port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of sockets has it
        for _ in range(100):
            writer.write(echo(1_000_000))
        hosts = server._listener.host
        while not hosts.connections:
            await asyncio.sleep(0)
        while hosts.connections:
            await asyncio.sleep(0.01)  # clock: the patience of the server is what is waited for
        assert 0 < ran < 50
        writer.close()


async def test_who_reads_slowly_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "STALLED", 1.0)
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoints[0].port, limit=65536)
        writer.write(echo(4_000_000) * 4)
        got = 0
        while got < 16_000_000:
            data = await asyncio.wait_for(reader.read(100_000), 20)
            assert data
            got += len(data)
            await asyncio.sleep(0.01)  # clock: a slow reader
        writer.close()


async def test_the_text_of_a_client_is_read_aside(web: Web) -> None:
    text = PROTOCOL.text.replace("{", '{"note": "another", ', 1)
    body = spec_frame(write_request(HandshakeRequest(b"?" * 16, text, PROTOCOL.md5)) + ADD[len(HELLO) :])
    web.writer.write(post(body) + post(BODY))
    for _ in range(2):
        assert await web.answer() == (200, {"content-type": "avro/binary", "content-length": "27"}, THREE)


async def test_a_text_that_is_no_protocol(web: Web) -> None:
    web.writer.write(post(spec_frame(write_request(HandshakeRequest(b"?" * 16, "[]", PROTOCOL.md5)) + b"\0\0")))
    status, _, body = await web.answer()
    assert (status, b"cannot be read" in body) == (400, True)
    assert await web.ended()


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: avro/binary\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_body_in_tiny_chunks_takes_turns(web: Web) -> None:
    web.writer.write(CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY + bytes(1000)) + b"0\r\n\r\n")
    assert (await web.answer())[2] == THREE


async def test_a_body_of_endless_tiny_chunks_is_refused(web: Web) -> None:
    web.writer.write(CHUNKED + b"1\r\n\0\r\n" * (http_server.CHUNKS + 1))
    assert (await web.answer())[0] == 413
    assert await web.ended()


async def test_who_is_refused_in_the_middle_of_sending_is_told(web: Web) -> None:
    size = 100_000 + http_server.AHEAD + http_server.AFTER // 2
    web.writer.write(post(bytes(size)))
    await web.writer.drain()
    assert (await web.answer())[0] == 413
    assert await web.ended()


async def test_who_is_refused_and_goes_on_is_cut(web: Web) -> None:
    web.writer.write(CHUNKED + b"x\r\n")
    assert (await web.answer())[0] == 400
    with pytest.raises(ConnectionError):
        for _ in range(100):
            web.writer.write(bytes(1_000_000))
            await web.writer.drain()


async def test_who_is_refused_and_stays_is_cut(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "PARTING", 0.1)
    web.writer.write(CHUNKED + b"x\r\n")
    assert (await web.answer())[0] == 400
    assert await web.ended()
    with pytest.raises(ConnectionError):
        while True:
            web.writer.write(b"x")
            await web.writer.drain()
            await asyncio.sleep(0.01)  # clock: the patience of the server is what is waited for


async def test_a_get_shows_a_page() -> None:
    asked = asyncio.Event()

    async def page(peer: Peer) -> tuple[str, bytes]:
        return "text/html", f"<p>{peer.endpoint[:6]}".encode()

    async def never(peer: Peer) -> tuple[str, bytes]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def full(peer: Peer) -> tuple[str, bytes]:
        raise CallError(Code.RESOURCE_EXHAUSTED, "too many")

    async def broken(peer: Peer) -> tuple[str, bytes]:
        raise ValueError("s3cret")

    server = Server(PROTOCOL, Inventory())
    listener = Listener(Router({PROTOCOL.name: server}), Directory([server.contract]), timeout=0.1)
    listener.host.pages = {"/a": page, "/never": never, "/full": full, "/broken": broken}
    endpoint = await listener.open(splnode.Endpoint.parse("tcp://127.0.0.1:0"))
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    web = Web(reader, writer, Inventory())

    async def get(path: str) -> tuple[int, str, bytes]:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, headers, body = await web.answer()
        return status, headers["content-type"], body

    assert await get("/a") == (200, "text/html", b"<p>tcp://")
    assert await get("/a?of=it") == (200, "text/html", b"<p>tcp://")
    assert (await get("/full"))[0] == 429
    assert await get("/broken") == (500, "text/plain; charset=utf-8", b"internal error\n")
    assert (await get("/never"))[0] == 504
    writer.write(post(BODY))
    assert (await web.answer())[::2] == (200, THREE)  # and calls go on
    assert (await get("/b"))[0] == 405
    assert await web.ended()
    assert listener.host.traffic[0] > 0
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    asked.clear()
    listener.host.timeout = 60
    writer.write(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n")
    await asked.wait()
    await listener.close()  # what is shown ends with it
    writer.close()
    assert listener.host.accepted == 2
