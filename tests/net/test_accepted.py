"""The server's side of a connection, spoken to with bytes."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

import splnode
from splnode.avro.codec import encoder
from splnode.limits import Limits
from splnode.net import accepted, host, watched
from splnode.net.listener import Listener
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.directory import Directory
from splnode.wire.events import Errand
from splnode.wire.handshake import HandshakeRequest, write_request
from splnode.wire.netty import netty_frame
from splnode.wire.primitive import write_map, write_string
from splnode.wire.spec import spec_frame
from tests.rpc.conftest import PROTOCOL, Inventory

HELLO = write_request(HandshakeRequest(PROTOCOL.md5, None, PROTOCOL.md5))
PING = netty_frame(0, HELLO + b"\0\0")
ADD = encoder(PROTOCOL.messages["add"].request).encode
ECHO = encoder(PROTOCOL.messages["echo"].request).encode
IMPATIENT = pytest.mark.parametrize("handshake", [0.2])
"""For those who wait for the end of a patience; the others have time, however slow the machine is."""
PONG = netty_frame(0, bytes.fromhex("00000000 0000"))


def call(serial: int, message: str, **params: object) -> bytes:
    """A call without metadata, in Netty framing."""
    encode = encoder(PROTOCOL.messages[message].request).encode
    return netty_frame(serial, b"\0" + write_string(message) + encode(params))


@dataclass
class Site:
    listener: Listener
    inventory: Inventory
    port: int


@pytest.fixture
def handshake() -> float:
    """Seconds that a peer has for its first message."""
    return 20.0


@pytest.fixture
async def site(handshake: float) -> AsyncIterator[Site]:
    inventory = Inventory()
    server = Server(PROTOCOL, inventory)
    limits = Limits(handshake_seconds=handshake, calls_per_connection=10)
    listener = Listener(Router({PROTOCOL.name: server}), Directory([server.contract]), limits=limits)
    endpoint = await listener.open(splnode.Endpoint.parse("tcp://127.0.0.1:0"))
    yield Site(listener, inventory, endpoint.port)
    await listener.close()


@pytest.fixture
async def line(site: Site) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    yield reader, writer
    writer.close()


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What still comes until the server closes."""
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        return b""


async def test_answers_a_handshake_and_calls_written_at_once(line: Line) -> None:
    reader, writer = line
    writer.write(PING + call(1, "add", a=1, b=2) + call(2, "add", a=2, b=40))
    expected = PONG + netty_frame(1, b"\0\0\x06") + netty_frame(2, b"\0\0\x54")
    assert await asyncio.wait_for(reader.readexactly(len(expected)), 20) == expected


async def test_a_byte_at_a_time(line: Line) -> None:
    reader, writer = line
    for byte in PING + call(1, "add", a=1, b=2):
        writer.write(bytes([byte]))
        await writer.drain()
    expected = PONG + netty_frame(1, b"\0\0\x06")
    assert await asyncio.wait_for(reader.readexactly(len(expected)), 20) == expected


@IMPATIENT
async def test_who_says_nothing_is_dropped(site: Site, line: Line) -> None:
    assert await ended(line[0]) == b""
    assert not site.listener.host.connections


@IMPATIENT
async def test_who_never_finishes_its_first_message_is_dropped(line: Line) -> None:
    line[1].write(PING[:-1])
    assert await ended(line[0]) == b""


@IMPATIENT
async def test_who_has_said_hello_may_be_silent(site: Site, line: Line) -> None:
    reader, writer = line
    writer.write(PING)
    await reader.readexactly(len(PONG))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.4)
    assert site.listener.host.connections


@pytest.mark.parametrize("junk", [b"\xff" * 100, b"\x16\x03\x01\x00\xa5" + bytes(20), PING + b"\xff" * 40])
async def test_garbage_ends_its_own_connection_alone(site: Site, line: Line, junk: bytes) -> None:
    other_reader, other_writer = await asyncio.open_connection("127.0.0.1", site.port)
    other_writer.write(PING)
    await other_reader.readexactly(len(PONG))
    line[1].write(junk)
    await ended(line[0])
    other_writer.write(call(1, "add", a=1, b=2))
    assert await asyncio.wait_for(other_reader.readexactly(15), 20) == netty_frame(1, b"\0\0\x06")
    other_writer.close()


async def test_a_half_closed_connection_gets_its_answers_then_ends(site: Site, line: Line) -> None:
    reader, writer = line
    writer.write(netty_frame(7, HELLO + b"\0" + write_string("wait") + write_string("x")))
    writer.write_eof()
    await asyncio.wait_for(site.inventory.began.wait(), 20)
    site.inventory.waiting["x"].set_result("late")
    assert await ended(reader) == netty_frame(7, bytes.fromhex("00000000 0000") + write_string("late"))


async def test_half_closed_with_more_calls_than_may_run_at_once(site: Site, line: Line) -> None:
    reader, writer = line
    writer.write(PING + b"".join(call(i, "add", a=i, b=0) for i in range(1, 51)))
    writer.write_eof()
    answers = await ended(reader)
    assert answers == PONG + b"".join(
        netty_frame(i, b"\0\0" + encoder(PROTOCOL.messages["add"].response).encode(i)) for i in range(1, 51)
    )


async def test_half_closed_within_a_message(line: Line) -> None:
    reader, writer = line
    writer.write(PING + call(1, "add", a=1, b=2)[:-1])
    writer.write_eof()
    assert await ended(reader) == PONG


async def test_a_client_that_resets_ends_its_handlers(site: Site) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(PING + call(1, "wait", name="x"))
    await asyncio.wait_for(site.inventory.began.wait(), 20)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends a reset
    writer.transport.abort()
    await asyncio.wait_for(site.inventory.cancelled.wait(), 20)


async def test_more_calls_than_may_run_wait_in_the_socket(site: Site, line: Line) -> None:
    reader, writer = line
    writer.write(PING + b"".join(call(i, "wait", name=str(i)) for i in range(1, 31)))
    await reader.readexactly(len(PONG))
    waiting = site.inventory.waiting
    for number in range(1, 31):
        while str(number) not in waiting:
            site.inventory.began.clear()
            await asyncio.wait_for(site.inventory.began.wait(), 20)
        assert len([f for f in waiting.values() if not f.done()]) <= 10
        waiting[str(number)].set_result("")
        assert await asyncio.wait_for(reader.readexactly(15), 20) == netty_frame(number, b"\0\0\0")


async def test_who_does_not_read_gets_no_more_run_and_is_dropped(
    site: Site, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "STALLED", 0.3)
    _, writer = line
    ran = 0
    original = site.inventory.echo

    def counting(value: object) -> object:
        nonlocal ran
        ran += 1
        return original(value)

    site.inventory.echo = counting  # type: ignore[method-assign]  # to count
    server = Server(PROTOCOL, site.inventory)
    site.listener.host.channel = Router({PROTOCOL.name: server})
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of sockets has it
    writer.write(PING)
    for serial in range(1, 101):
        writer.write(call(serial, "echo", value="x" * 1_000_000))
    while site.listener.host.connections:
        await asyncio.sleep(0.01)  # clock: the patience of the server is what is waited for
    assert ran < 50


async def test_spec_framing_answers_in_order(site: Site, line: Line) -> None:
    reader, writer = line
    encode = encoder(PROTOCOL.messages["wait"].request).encode
    writer.write(spec_frame(HELLO, b"\0\0"))
    pong = spec_frame(bytes(4), b"\0", b"\0", b"")
    assert await asyncio.wait_for(reader.readexactly(len(pong)), 20) == pong
    for name in ("first", "second"):
        writer.write(spec_frame(b"\0" + write_string("wait") + encode({"name": name})))
    waiting = site.inventory.waiting
    while len(waiting) < 2:
        site.inventory.began.clear()
        await asyncio.wait_for(site.inventory.began.wait(), 20)
    waiting["second"].set_result("2")
    waiting["first"].set_result("1")
    expected = b"".join(spec_frame(b"\0", b"\0", write_string(text)) for text in "12")
    assert await asyncio.wait_for(reader.readexactly(len(expected)), 20) == expected


async def test_a_peer_in_the_middle_of_a_message_is_acknowledged(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """yaqc sends the second piece of a message once the first is acknowledged."""
    seen = asyncio.Event()
    monkeypatch.setattr(accepted, "acknowledge", lambda transport: seen.set())
    reader, writer = line
    writer.write(PING + call(1, "add", a=1, b=2))
    await asyncio.wait_for(reader.readexactly(len(PONG) + len(netty_frame(1, b"\0\0\x06"))), 20)
    assert not seen.is_set()
    writer.write(call(2, "add", a=1, b=2)[:-1])
    await asyncio.wait_for(seen.wait(), 20)


async def test_who_reads_slowly_gets_everything(site: Site, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "STALLED", 1.0)
    reader, writer = line
    writer.write(PING)
    await reader.readexactly(len(PONG))
    for serial in range(1, 5):
        writer.write(call(serial, "echo", value="x" * 4_000_000))
    got = 0
    while got < 16_000_000:
        data = await asyncio.wait_for(reader.read(100_000), 20)
        assert data
        got += len(data)
        await asyncio.sleep(0.01)  # clock: a slow reader


async def test_calls_held_back_by_a_slow_reader_run_once_it_reads(site: Site, line: Line) -> None:
    reader, writer = line
    writer.write(PING)
    await reader.readexactly(len(PONG))
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # the stream has no word for it
    (connection,) = site.listener.host.connections
    serial = 0
    while not connection._stalled:  # type: ignore[attr-defined]  # a ServerConnection
        serial += 1
        writer.write(call(serial, "echo", value="x" * 1_000_000))
        await asyncio.sleep(0)
    for _ in range(3):
        serial += 1
        writer.write(call(serial, "add", a=serial, b=0))
    reader._transport.resume_reading()  # type: ignore[attr-defined]  # as above
    expected = netty_frame(serial, b"\0\0" + encoder(PROTOCOL.messages["add"].response).encode(serial))
    got = b""
    while not got.endswith(expected):
        data = await asyncio.wait_for(reader.read(1_000_000), 20)
        assert data
        got = (got + data)[-100:]


async def test_closing_waits_for_what_is_written_and_cuts_off_who_does_not_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "LINGER", 0.2)
    lines = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(2)]
    for reader, writer in lines:
        writer.write(PING)
        await reader.readexactly(len(PONG))
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # the stream has no word for it
        for serial in range(1, 11):
            writer.write(call(serial, "echo", value="x" * 1_000_000))
    while not all(connection._stalled for connection in site.listener.host.connections):  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    await site.listener.close()
    assert not site.listener.host.connections
    for _, writer in lines:
        writer.close()


async def test_who_is_accepted_while_it_closes_is_not_forgotten(site: Site) -> None:
    await site.listener.host.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    assert await ended(reader) == b""
    writer.close()


async def test_half_closed_a_large_answer_is_read_in_peace(site: Site, line: Line) -> None:
    reader, writer = line
    writer.write(netty_frame(7, HELLO + b"\0" + write_string("echo") + ECHO({"value": "x" * 4_000_000})))
    writer.write_eof()
    await asyncio.sleep(0.1)  # clock: it closes as soon as it has answered, and has all this still to send
    assert len(await ended(reader)) > 4_000_000


@pytest.mark.parametrize("way", ["abort", "eof", "close"])
async def test_whatever_ends_a_connection_leaves_nothing(site: Site, way: str) -> None:
    """In each state: nothing said, half a head, half a handshake, greeted, a call running, an answer unread."""
    hello, waiting = PING, call(1, "wait", name="x")
    large = b"".join(call(serial, "echo", value="x" * 1_000_000) for serial in range(1, 9))
    for said in (b"", PING[:3], PING[:-1], hello, hello + waiting, hello + waiting[:-1], hello + large):
        _, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(said)
        while not site.listener.host.connections:
            await asyncio.sleep(0)
        (connection,) = site.listener.host.connections
        for _ in range(20):
            await asyncio.sleep(0)
        if way == "eof":
            writer.write_eof()
        elif way == "abort":
            writer.transport.abort()
        else:
            connection.close()
        site.inventory.began.clear()
        writer.close()
        while site.listener.host.connections:
            await asyncio.sleep(0)
            for future in site.inventory.waiting.values():
                if not future.done():
                    future.set_result("")
        site.inventory.waiting.clear()
    assert not site.listener.host._expiry._deadlines
    assert not site.listener.host.patience._deadlines


async def test_a_burst_of_calls_leaves_the_others_their_turn(site: Site, line: Line) -> None:
    reader, writer = line
    count = 1000
    writer.write(PING + b"".join(netty_frame(serial, b"\0\0") for serial in range(count)))
    expected = PONG + b"".join(netty_frame(serial, b"\0\0") for serial in range(count))
    assert await asyncio.wait_for(reader.readexactly(len(expected)), 20) == expected


async def test_the_text_of_a_client_is_read_aside(site: Site, line: Line) -> None:
    reader, writer = line
    text = PROTOCOL.text.replace("{", '{"note": "another", ', 1)
    hello = write_request(HandshakeRequest(b"?" * 16, text, PROTOCOL.md5))
    add = b"\0" + write_string("add") + encoder(PROTOCOL.messages["add"].request).encode({"a": 1, "b": 2})
    writer.write(netty_frame(7, hello + add) + call(8, "add", a=2, b=2))
    writer.write_eof()
    assert await ended(reader) == netty_frame(7, bytes(4) + b"\0\0\x06") + netty_frame(8, b"\0\0\x08")


@IMPATIENT
async def test_who_waits_for_its_text_to_be_read_is_not_dropped_for_that(
    site: Site, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    errands, free = site.listener.host.errands, threading.Event()
    run = errands.run

    def late(errand: Errand, done: Callable[[bool], None]) -> asyncio.Future[None]:
        return run(Errand(lambda: errand.run() if free.wait(20) else None, errand.size), done)

    monkeypatch.setattr(errands, "run", late)
    text = PROTOCOL.text.replace("{", '{"note": "late", ', 1)
    line[1].write(netty_frame(7, write_request(HandshakeRequest(b"?" * 16, text, PROTOCOL.md5)) + b"\0\0"))
    deadlines = site.listener.host.patience._deadlines
    async with asyncio.timeout(20):
        while not any(deadline > time.monotonic() + 10 for deadline in deadlines.values()):
            await asyncio.sleep(0.01)  # clock: the patience of the server is what is waited for
        free.set()
        assert (await line[0].readexactly(4)) == (7).to_bytes(4)


async def test_a_text_that_is_no_protocol_ends_the_connection(site: Site, line: Line) -> None:
    reader, writer = line
    writer.write(netty_frame(7, write_request(HandshakeRequest(b"?" * 16, "[]", PROTOCOL.md5)) + b"\0\0"))
    assert await ended(reader) == b""


async def test_a_client_that_goes_while_its_text_is_read(site: Site, line: Line) -> None:
    _, writer = line
    text = PROTOCOL.text.replace("{", '{"note": "gone", ', 1)
    writer.write(netty_frame(7, write_request(HandshakeRequest(b"?" * 16, text, PROTOCOL.md5)) + b"\0\0"))
    await writer.drain()
    writer.transport.abort()
    async with splnode.connect(f"tcp://127.0.0.1:{site.port}", PROTOCOL) as client:
        assert await client.add(a=1, b=2) == 3


async def test_after_the_last_bytes_none_of_several_calls_is_dropped(site: Site, line: Line) -> None:
    """One that is answered at once, since it came too late, is not the end of those behind it."""
    reader, writer = line
    writer.write(PING)
    await reader.readexactly(len(PONG))
    (connection,) = site.listener.host.connections
    late = write_map({"spl-timeout-ms": b"0"}) + write_string("add") + ADD({"a": 1, "b": 1})
    connection._eof = True  # type: ignore[attr-defined]  # what the kernel may tell before all was taken
    connection.data_received(netty_frame(1, late) + call(2, "add", a=2, b=2))  # type: ignore[attr-defined]  # as above
    assert (await ended(reader)).endswith(netty_frame(2, b"\0\0\x08"))
