import asyncio

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

    def get_write_buffer_size(self) -> int:
        return 0

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
    outbox.outlet(b"a")
    assert transport.data == b"a"
    await asyncio.sleep(0)
    assert transport.data == b"ab"
    assert outbox.written == 2
    outbox.close()
    outbox.outlet(b"c")
    assert transport.data == b"ab"


async def test_what_is_held_is_kept_here_and_goes_in_order_when_it_is_released() -> None:
    session, transport, outbox = opened()
    outbox.outlet(b"a")
    outbox.hold()
    outbox.hold()
    outbox.outlet(b"b")
    session.parts.append(b"c")
    outbox.collect()
    outbox.outlet(b"d")
    await asyncio.sleep(0)
    outbox.flush()
    outbox.write_parts([b"e"])
    assert (transport.data, outbox.written, outbox.waiting) == (b"a", 1, 4)
    outbox.release()
    assert (transport.data, outbox.written, outbox.waiting) == (b"abcde", 5, 0)
    outbox.outlet(b"f")
    assert (transport.data, outbox.written) == (b"abcdef", 6)
    outbox.release()
    assert transport.data == b"abcdef"


async def test_what_is_held_is_gone_when_it_is_closed() -> None:
    _, transport, outbox = opened()
    outbox.hold()
    outbox.outlet(bytes(1000))
    outbox.close()
    outbox.hold()
    outbox.release()
    outbox.outlet(b"x")
    assert (transport.data, outbox.written, outbox.waiting) == (b"", 0, 0)


class Pausing(Transport):
    """Has its protocol paused by each write."""

    outbox: Outbox

    def write(self, data: object) -> None:
        super().write(data)
        self.outbox.hold()


async def test_it_may_be_held_again_by_what_is_released_but_not_at_the_end() -> None:
    session, transport = Session(), Pausing()
    transport.outbox = outbox = Outbox(session)
    outbox.open(transport)
    outbox.outlet(b"a")
    outbox.outlet(b"b")
    outbox.outlet(b"c")
    assert transport.data == b"a"
    outbox.release()
    outbox.outlet(b"d")
    assert transport.data == b"abc"
    session.parts.append(b"e")
    outbox.finish()
    outbox.outlet(b"f")
    assert transport.data == b"abcdef"
    assert (outbox.written, outbox.waiting) == (6, 0)
