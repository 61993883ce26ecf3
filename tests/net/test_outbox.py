import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from splnode.net.outbox import HIGH_WATER, Outbox


class Session:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def data_to_send(self) -> list[bytes]:
        parts, self.parts = self.parts, []
        return parts


class Transport(asyncio.WriteTransport):
    """Keeps what it is given; `last` is what came by `write`, after which a real one may pause its protocol."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.last: list[bytes] = []
        self.high = 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def writelines(self, parts: object) -> None:
        self.data += b"".join(parts)  # type: ignore[call-overload]  # the list that Outbox gives

    def write(self, data: object) -> None:
        self.data += data  # type: ignore[operator]  # bytes
        self.last.append(data)  # type: ignore[arg-type]  # bytes


def opened() -> tuple[Session, Transport, Outbox]:
    session, transport = Session(), Transport()
    outbox = Outbox(session)
    outbox.open(transport)
    return session, transport, outbox


async def test_what_one_turn_of_the_loop_gathers_goes_in_order_at_its_end() -> None:
    session, transport, outbox = opened()
    assert transport.high == HIGH_WATER
    for part in (b"a", b"b", b"c"):
        session.parts.append(part)
        outbox.collect()
    assert transport.data == b""
    await asyncio.sleep(0)
    assert transport.data == b"abc"
    outbox.collect()
    await asyncio.sleep(0)
    assert transport.data == b"abc"


async def test_every_write_ends_in_one_that_may_pause() -> None:
    session, transport, outbox = opened()
    session.parts += [b"a", b"b"]
    outbox.flush()
    session.parts += [b"c"]
    outbox.flush()
    assert transport.last == [b"b", b"c"]


class Gathering(Transport):
    """As uvloop's: one write of all parts, after which it may pause its protocol."""

    __module__ = "uvloop.loop"

    def writelines(self, parts: object) -> None:
        super().writelines(parts)
        self.last.append(b"|".join(parts))  # type: ignore[arg-type]  # as above


async def test_parts_go_in_one_write_where_that_may_pause() -> None:
    session, transport = Session(), Gathering()
    outbox = Outbox(session)
    outbox.open(transport)
    session.parts += [b"a", b"b"]
    outbox.flush()
    assert (transport.last, transport.data) == ([b"a|b"], b"ab")


async def test_parts_of_an_answer_go_at_once_behind_what_was_gathered() -> None:
    session, transport, outbox = opened()
    session.parts.append(b"a")
    outbox.collect()
    outbox.write_parts([b"b", b"c"])
    assert transport.data == b"abc"
    assert outbox.written == 3
    outbox.close()
    outbox.write_parts([b"d"])
    assert transport.data == b"abc"
    assert outbox.waiting == 0


async def test_much_goes_at_once() -> None:
    session, transport, outbox = opened()
    session.parts.append(b"a")
    outbox.collect()
    session.parts.append(bytes(HIGH_WATER))
    outbox.collect()
    assert transport.data == b"a" + bytes(HIGH_WATER)
    await asyncio.sleep(0)
    assert len(transport.data) == 1 + HIGH_WATER


async def test_flushed_now_and_dropped_when_closed() -> None:
    session, transport, outbox = opened()
    session.parts.append(b"last")
    outbox.flush()
    assert transport.data == b"last"
    session.parts.append(b"never")
    outbox.collect()
    outbox.close()
    await asyncio.sleep(0)
    outbox.flush()
    assert transport.data == b"last"


async def test_what_is_written_at_once_goes_before_what_is_gathered() -> None:
    session, transport, outbox = opened()
    session.parts.append(b"b")
    outbox.collect()
    outbox.write(b"a")
    assert transport.data == b"a"
    await asyncio.sleep(0)
    assert transport.data == b"ab"
    assert outbox.written == 2
    outbox.close()
    outbox.write(b"c")
    assert transport.data == b"ab"


class Uv(Transport):
    """As uvloop's: it keeps what it is given, and shows its socket."""

    __module__ = "uvloop.loop"

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.sock = sock
        self.waiting = 0

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"socket": self.sock}.get(name, default)

    def get_write_buffer_size(self) -> int:
        return self.waiting


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


async def test_what_is_urgent_goes_past_a_loop_that_keeps_it(sockets: tuple[socket.socket, socket.socket]) -> None:
    near, far = sockets
    transport, outbox = Uv(near), Outbox(Session())
    outbox.open(transport)
    outbox.send(b"now")
    assert far.recv(100) == b"now"
    assert (transport.data, outbox.written) == (b"", 3)


async def test_nothing_goes_past_what_the_transport_has_still_to_write(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    near, far = sockets
    transport, outbox = Uv(near), Outbox(Session())
    outbox.open(transport)
    transport.waiting = 1
    outbox.send(b"in order")
    assert transport.data == b"in order"
    with pytest.raises(BlockingIOError):
        far.recv(100)


async def test_what_the_socket_does_not_take_is_the_transports(sockets: tuple[socket.socket, socket.socket]) -> None:
    near, far = sockets
    transport, outbox = Uv(near), Outbox(Session())
    outbox.open(transport)
    data = bytes(range(256)) * 40_000
    outbox.send(data)
    assert 0 < len(transport.data) < len(data)
    assert outbox.written == len(data)
    got = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            got += far.recv(1 << 20)
    assert got + transport.data == data


async def test_a_socket_that_is_gone_is_found_by_the_transport(sockets: tuple[socket.socket, socket.socket]) -> None:
    near, far = sockets
    transport, outbox = Uv(near), Outbox(Session())
    outbox.open(transport)
    far.close()
    outbox.send(b"to nobody")
    assert transport.data == b"to nobody"
    outbox.close()
    outbox.send(b"late")
    assert transport.data == b"to nobody"


@pytest.mark.parametrize("secure", [True, False])
async def test_nothing_goes_past_tls(secure: bool) -> None:
    ours, theirs = socket.socketpair()
    given = {"socket": ours, "ssl_object": object() if secure else None}

    class Link(Transport):
        __module__ = "uvloop.loop"  # as one of uvloop's looks

        def get_extra_info(self, name: str, default: object = None) -> object:
            return given.get(name, default)

        def get_write_buffer_size(self) -> int:
            return 0

    with ours, theirs:
        theirs.setblocking(False)
        transport, outbox = Link(), Outbox(Session())
        outbox.open(transport)
        outbox.send(b"secret")
        if secure:
            assert transport.data == b"secret"
            with pytest.raises(BlockingIOError):
                theirs.recv(10)
        else:
            assert theirs.recv(10) == b"secret"
