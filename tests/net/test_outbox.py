import asyncio

from splnode.net.outbox import HIGH_WATER, Outbox


class Session:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def data_to_send(self) -> list[bytes]:
        parts, self.parts = self.parts, []
        return parts


class Transport(asyncio.WriteTransport):
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.high = 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def writelines(self, parts: object) -> None:
        self.writes.append(b"".join(parts))  # type: ignore[call-overload]  # the list that Outbox gives


async def test_one_write_for_each_turn_of_the_loop() -> None:
    session, transport = Session(), Transport()
    outbox = Outbox(session)
    outbox.open(transport)
    assert transport.high == HIGH_WATER
    for part in (b"a", b"b", b"c"):
        session.parts.append(part)
        outbox.collect()
    assert transport.writes == []
    await asyncio.sleep(0)
    assert transport.writes == [b"abc"]
    outbox.collect()
    await asyncio.sleep(0)
    assert transport.writes == [b"abc"]


async def test_much_goes_at_once() -> None:
    session, transport = Session(), Transport()
    outbox = Outbox(session)
    outbox.open(transport)
    session.parts.append(b"a")
    outbox.collect()
    session.parts.append(bytes(HIGH_WATER))
    outbox.collect()
    assert transport.writes == [b"a" + bytes(HIGH_WATER)]
    await asyncio.sleep(0)
    assert len(transport.writes) == 1


async def test_flushed_now_and_dropped_when_closed() -> None:
    session, transport = Session(), Transport()
    outbox = Outbox(session)
    outbox.open(transport)
    session.parts.append(b"last")
    outbox.flush()
    assert transport.writes == [b"last"]
    session.parts.append(b"never")
    outbox.collect()
    outbox.close()
    await asyncio.sleep(0)
    outbox.flush()
    assert transport.writes == [b"last"]
