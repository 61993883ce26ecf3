"""What connections share: room, and what all of them together may hold."""

import asyncio
import struct
from pathlib import Path

import pytest
import structlog

import splnode
from splnode.errors import CallError, Code
from splnode.limits import Limits
from splnode.net import host, ledger
from splnode.rpc.admission import Admission
from tests.net.test_accepted import PING, PONG, call, ended
from tests.net.test_http_server import echo
from tests.rpc.conftest import PROTOCOL, Inventory

BIG = 262_144


class Waiting(Inventory):
    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def echo(self, value: object) -> object:
        await self.go.wait()
        return "x"


class Prompt(Inventory):
    """Its answers are small, and it runs where its requests are read: no other large call runs beside it."""

    def echo(self, value: object) -> object:  # type: ignore[override]  # that one is async
        return str(value)[-9:]


async def greeted(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(PING)
    assert await asyncio.wait_for(reader.readexactly(len(PONG)), 20) == PONG
    return reader, writer


async def test_messages_that_do_not_end_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PATIENT", 1)
    limits = Limits(message_bytes=BIG, held_bytes=3 * BIG)
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}, limits=limits) as server:
        port = server.endpoints[0].port
        lines = [await greeted(port) for _ in range(5)]
        with structlog.testing.capture_logs() as logs:
            for _, writer in lines:
                writer.write(struct.pack(">III", 1, 1, BIG) + bytes(BIG - 1))
                await writer.drain()
            ends = [asyncio.create_task(ended(reader)) for reader, _ in lines]
            done, _ = await asyncio.wait(ends, timeout=20, return_when="FIRST_COMPLETED")
            assert done
        assert [each["limit"] for each in logs if "wait" in each["event"]] == ["held_bytes"]
        assert any("do not end" in each.get("reason", "") for each in logs)
        for _, writer in lines:
            writer.close()


@pytest.mark.parametrize("way", ["netty", "http"])
async def test_large_messages_of_many_slow_peers_come_one_after_another(way: str) -> None:
    """None of them is lost, though together they are four times what the node holds."""
    limits = Limits(message_bytes=BIG, held_bytes=8 * BIG)
    size = BIG - 1000
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Prompt()}, limits=limits) as server:
        port = server.endpoints[0].port
        message = PING + call(1, "echo", value="x" * size) if way == "netty" else echo(size)
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(32)]
        answers = [asyncio.create_task(reader.readuntil(b"x" * 9)) for reader, _ in lines]
        for start in range(0, len(message), 10_000):
            for _, writer in lines:
                writer.write(message[start : start + 10_000])
                await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(*answers), 20)
        for _, writer in lines:
            writer.close()


async def test_large_calls_that_run_are_bounded_together() -> None:
    limits = Limits(message_bytes=BIG, held_bytes=2 * BIG)
    inventory = Waiting()
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: inventory}, limits=limits) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            text = "x" * (BIG - 200)
            calls = [asyncio.create_task(client.echo(value=text)) for _ in range(5)]
            with pytest.raises(CallError, match="held_bytes") as caught:
                await calls[4]
            assert (caught.value.code, caught.value.started) == (Code.RESOURCE_EXHAUSTED, False)
            assert await client.add(a=1, b=2) == 3
            inventory.go.set()
            assert await asyncio.gather(*calls[:4]) == ["x"] * 4
            assert await client.echo(value=text) == "x"


async def test_answers_that_nobody_reads_are_bounded_together(tmp_path: Path) -> None:
    limits = Limits(message_bytes=8 * BIG, held_bytes=20 * BIG)
    path = str(tmp_path / "s")  # a Unix socket's buffers are small
    async with splnode.listen([f"unix://{path}"], {PROTOCOL: Inventory()}, limits=limits):
        lines = [await asyncio.open_unix_connection(path) for _ in range(6)]
        with structlog.testing.capture_logs() as logs:
            for _, writer in lines:
                writer.transport.pause_reading()
                writer.write(PING + call(1, "echo", value="x" * 7 * BIG))
                await writer.drain()
            async with asyncio.timeout(10):
                while not logs:
                    await asyncio.sleep(0.01)  # clock: only the server knows when its buffers are full
            assert len(await ended_of(lines[0])) < 7 * BIG
        assert "nobody reads" in logs[0]["reason"]
        for _, writer in lines:
            writer.transport.abort()


async def ended_of(line: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bytes:
    line[1].transport.resume_reading()
    return await ended(line[0])


async def test_some_descriptors_are_kept_from_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "most_connections", lambda: 3)
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        port = server.endpoints[0].port
        with structlog.testing.capture_logs() as logs:
            lines = [await greeted(port) for _ in range(3)]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)  # it is in the backlog
            writer.write(PING)
            while not logs:
                await asyncio.sleep(0.01)  # clock: as long as it takes the system to tell of who has come
        assert [line["open"] for line in logs] == [3]
        lines[0][1].write(call(1, "add", a=1, b=2))
        assert await lines[0][0].readexactly(1)
        lines[1][1].close()
        assert await asyncio.wait_for(reader.readexactly(len(PONG)), 5) == PONG
        for _, each in (*lines, (reader, writer)):
            each.close()


@pytest.mark.parametrize(("soft", "room"), [(64, 32), (1024, 896), (20_000, 18_976), (1_000_000, 998_976)])
def test_most_connections(monkeypatch: pytest.MonkeyPatch, soft: int, room: int) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (soft, soft))
    assert host.most_connections() == room


async def test_one_peer_whose_calls_hang_leaves_room_for_the_others() -> None:
    inventory = Waiting()
    admission = Admission(24, 0)
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: inventory}, admission=admission) as server:
        endpoint = server.endpoints[0]
        async with splnode.connect(endpoint, PROTOCOL) as one, splnode.connect(endpoint, PROTOCOL) as other:
            hanging = [asyncio.create_task(one.echo(value="x")) for _ in range(40)]
            late = asyncio.create_task(one.call("echo", {"value": "x"}, timeout=0.2))
            while admission.running < admission.share:
                await asyncio.sleep(0)
            assert await other.add(a=1, b=2) == 3
            assert admission.running == admission.share == 18
            with pytest.raises(CallError) as caught:
                await late
            assert caught.value.code is Code.DEADLINE_EXCEEDED
            hanging[39].cancel()
            hanging[0].cancel()
            inventory.go.set()
            assert await asyncio.gather(*hanging[1:39]) == ["x"] * 38
            assert await one.add(a=1, b=2) == 3


async def test_who_is_refused_without_end_does_not_fill_the_log() -> None:
    """A line for each reason at once, and then one in a while that says how often it was."""
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        with structlog.testing.capture_logs() as logs:
            for said in (b"\xff" * 20, b"\x15" * 20, b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n") * 10:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.endpoints[0].port)
                writer.write(said)
                await ended(reader)
                writer.close()
    assert 2 <= len(logs) <= 3
    assert len({each["reason"] for each in logs}) == len(logs)
    assert {each["times"] for each in logs} == {1}


async def test_what_somebody_can_do_about_it_is_a_warning() -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        owner = server._listener.host
        with structlog.testing.capture_logs() as logs:
            for _ in range(2):
                owner.tell("gone", "tcp://x", "y" * 1000)
                owner.tell("gone", "tcp://x", "z", fix="raise it")
    assert [(each["log_level"], each["reason"]) for each in logs] == [("info", "y" * 500), ("warning", "z")]
