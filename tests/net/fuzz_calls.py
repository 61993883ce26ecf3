"""Calls between two connections in one process, with one engine and with the other: the same bytes, the same outcomes.

Dice make a script: calls of all kinds, their cancellation, time that passes, bytes that arrive in pieces or damaged,
peers that stop reading and connections that end. Each engine plays it, on a clock that only the script moves, and tells
what came of each step. What they tell must be the same, step for step; but for serials, which an engine may leave out.
In some scripts are values so large that the native engine alone takes them in their turn: here the order within a step
is free, and nothing else goes wrong. `scripts/fuzz` lets coverage throw the dice.
"""

import asyncio
import gc
import json
import random
import time
import uuid
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import structlog

from splnode.avro.protocol import Protocol
from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, DeclaredError
from splnode.limits import Limits
from splnode.net.accepted import ServerConnection
from splnode.net.connection import ClientConnection
from splnode.net.host import Host
from splnode.rpc.admission import Admission
from splnode.rpc.call import current_call
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.client import ClientSession
from splnode.wire.directory import Directory
from splnode.wire.message import Contract
from tests.engines import chosen_engine
from tests.fuzzers.dice import Fed
from tests.wire.conftest import handshake, netty, string
from tests.wire.fuzz_session import mutate

ENDPOINT = Endpoint.parse("tcp://127.0.0.1:1")
DAMAGE, STRAY = "damage", "stray"
TURNS = 30
"""Turns of the loop after each step: more than any call needs to get as far as it can."""
ITEM = {"type": "record", "name": "Item", "fields": [
    {"name": "how", "type": "string"},
    {"name": "marks", "type": {"type": "map", "values": "string"}},
    {"name": "value", "type": ["null", "long", "bytes", "string"]},
]}  # fmt: skip
REFUSED = {"type": "error", "name": "Refused", "fields": [{"name": "reason", "type": "string"}]}
ACT = {"request": [{"name": "item", "type": "Item"}], "response": "Item", "errors": ["Refused"]}
PROTOCOL = Protocol.parse(
    json.dumps(
        {
            "protocol": "Acts",
            "types": [ITEM, REFUSED],
            "messages": {
                "act": ACT,
                "later": ACT,
                "add": {"request": [{"name": "a", "type": "int"}, {"name": "b", "type": "long"}], "response": "long"},
                "none": {"request": [], "response": "null"},
                "tell": {"request": [{"name": "line", "type": "string"}], "response": "null", "one-way": True},
            },
        }
    )
)
HOWS = ("value", "value", "value", "refuse", "crash", "call error", "unfit", "metadata", "suspend", "suspend", "sleep")
VALUES = (None, 0, -1, 2**62, b"", b"bytes", "text", "\u00e9" * 20, b"x" * 300, b"y" * 10_000)
LARGE = (b"y" * 40_000, b"z" * 70_000, b"z" * 300_000, "z" * 80_000)
SMOOTH = ("call", "arrive", "exchange", "resume")
"""Steps in which nothing goes wrong."""
ODD: tuple[Any, ...] = (2**63, 1.5, "\ud800", object, [])
TIMES = (0.0005, 0.01, 0.06, 0.5, 1.0, 5.0, 31.0)
FRAMES = (  # with serials that no call has: which of two with one serial is cancelled is anybody's guess
    netty(2**30 + 7, b"\0\0"),
    netty(2**30 + 1, b"\x02" + string("spl-cancel") + string("1") + b"\0\0"),
    netty(2**30 + 9, b"\0" + string("add") + b"\x02\x04"),
    netty(2**31, b"\0" + string("nothing")),
    netty(2**30 + 5, b"\0" + string("none"), b""),
    netty(2**30 + 3, handshake(PROTOCOL.md5, PROTOCOL.md5) + b"\0\0"),
    netty(2**30 + 4, b"\x02" + string("spl-timeout-ms") + string("0") + b"\0" + string("none")),
)


class Refused(DeclaredError):
    """Declared by the protocol."""


class Clock:
    """Stands in for time.monotonic: moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Handlers:
    """Do what the item says."""

    def __init__(self, told: list[str]) -> None:
        self.told = told
        self.suspended: list[asyncio.Future[None]] = []

    def act(self, item: dict[str, Any]) -> Any:
        call = current_call()
        self.tell(f"act {item['how']} {sorted(call.metadata)} {call.remaining:.4f}")
        match item["how"]:
            case "refuse":
                raise Refused(reason="asked for")
            case "crash":
                raise ZeroDivisionError("not for others")
            case "call error":
                raise CallError(Code.NOT_FOUND, "nothing there", retry_after=0.5)
            case "unfit":
                return {"how": 1, "marks": {}, "value": None}
            case "metadata":
                call.answer_metadata = {"mark": b"1"}
            case "suspend":
                return self.suspend(item)
            case "sleep":
                return self.sleep(item)  # clock: the fuzzer's loop has its own
        return item

    async def later(self, item: dict[str, Any]) -> Any:
        answer = self.act(item)
        return await answer if asyncio.iscoroutine(answer) else answer

    async def suspend(self, item: dict[str, Any]) -> dict[str, Any]:
        future = asyncio.get_running_loop().create_future()
        self.suspended.append(future)
        try:
            await future
        except asyncio.CancelledError:
            self.tell("cancelled")
            raise
        return item

    async def sleep(self, item: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(0.3):  # clock: the loop of the fuzzer has a clock of its own
                await asyncio.sleep(0.05 if item["marks"] else 0.5)  # clock: its own, as above
        except TimeoutError:
            self.tell("timed out inside")
        return item

    def add(self, a: int, b: int) -> int:
        return a + b

    def none(self) -> None:
        self.tell("none")

    def tell(self, line: str) -> None:
        self.told.append(line)


class Line(asyncio.Transport):
    """One end of the connection: keeps what is written until the script lets it arrive at the other end."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.buffer = bytearray()
        self.written = bytearray()
        self.reading = True
        self.closed = False
        self.address: object = None
        self.other: Line

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.address if name == "peername" else default

    def write(self, data: Any) -> None:
        if not self.closed:
            self.buffer += data
            self.written += data

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Nothing more is written; the other end's bytes go on arriving, as after shutdown(2)."""

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.buffer.clear()
        self.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def deliver(self, data: bytes) -> None:
        """Bytes of the other end arrive at this one's protocol."""
        if not isinstance(self.protocol, asyncio.BufferedProtocol):
            self.protocol.data_received(data)
            return
        while data and not self.closed:
            room = memoryview(self.protocol.get_buffer(-1)).cast("B")
            part, data = data[: len(room)], data[len(room) :]
            room[: len(part)] = part
            room.release()
            self.protocol.buffer_updated(len(part))


class Serials:
    """Numbers the client's messages as they come, so that it does not matter which serials it left out."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.gap = False

    def told(self, written: bytes, *, new: bool, ordered: bool = True) -> str:
        """Whole frames, with their numbers for their serials; those of the client are `new`."""
        frames = list(self.frames(written, new=new))
        if not ordered:
            frames.sort()
        taken_back = iter(sorted(body for _, body in frames if body.startswith(_CANCEL)))
        return " ".join(f"{number}:{next(taken_back) if body.startswith(_CANCEL) else body}" for number, body in frames)

    def frames(self, data: bytes, *, new: bool) -> Iterator[tuple[str, str]]:
        at = 0
        while at < len(data):
            serial, buffers = int.from_bytes(data[at : at + 4]), int.from_bytes(data[at + 4 : at + 8])
            start = at = at + 8
            for _ in range(buffers):
                at += 4 + int.from_bytes(data[at : at + 4])
            if new and serial not in self.numbers:
                self.gap = self.gap or serial != len(self.numbers)
                self.numbers[serial] = len(self.numbers)
            yield str(self.numbers.get(serial, f"?{serial}")), self.body(data[start:at])

    def body(self, data: bytes) -> str:
        """In hex; of a cancelling message the number of what it cancels."""
        if data[4:].startswith(_CANCELS):
            return f"{_CANCEL} {self.numbers.get(int(data[len(_CANCELS) + 5 : -2]), '?')}"
        return data.hex()


_CANCEL, _CANCELS = "cancel", b"\x02" + string("spl-cancel")


class Play:
    """One script, played."""

    def __init__(self, dice: random.Random, clock: Clock) -> None:
        self.dice = dice
        self.clock = clock
        self.told: list[str] = []
        self.acts: list[str] = []
        self.large = self.dice.random() < 0.2
        self.tasks: list[asyncio.Task[Any]] = []
        self.pending: dict[int, asyncio.Task[Any]] = {}
        self.serials = Serials()
        self.gap = -1
        self.reason = "?"

    async def run(self) -> list[str]:
        asyncio.get_running_loop().set_exception_handler(self.unhandled)
        dice = self.dice
        limits, gate = Limits(nodes=1000), Admission()
        if not self.large:
            most, calls = dice.choice((30_000, 4 * 2**20)), dice.choice((2, 5, 1000))
            limits = Limits(message_bytes=most, calls_per_connection=calls, nodes=1000)
            gate = Admission(dice.choice((3, 256)), dice.choice((1, 128)))
        handlers = Handlers(self.acts)
        server = Server(PROTOCOL, handlers, interceptors=(gate,), limits=limits)
        host = Host(Router({PROTOCOL.name: server}), Directory([server.contract]), limits, share=gate.share)
        contract = Contract(PROTOCOL, errors={"Refused": Refused}, limits=limits)
        session = ClientSession(contract, limits=limits)
        connection = ClientConnection(session, ENDPOINT, ChannelsConfig(), self.lost)
        self.client = Client(connection, contract, timeout=dice.choice((1.0, 30.0)))
        self.here, self.there = Line(connection), Line(ServerConnection(host, ENDPOINT))
        self.here.other, self.there.other = self.there, self.here
        self.there.protocol.connection_made(self.there)
        connection.connection_made(self.here)
        self.connection, self.handlers = connection, handlers
        if dice.random() < 0.9:
            for _ in range(2):
                await self.step("greet", self.exchange)
        for _ in range(dice.choice((5, 20, 60))):
            name, action = self.chosen()
            await self.step(name, action)
        await self.end(host)
        return self.told

    def chosen(self) -> tuple[str, Callable[[], object]]:
        """The next step: its name, and what to do. All dice are thrown here, so that engines cannot differ in them."""
        dice = self.dice
        way = self.there if self.large else dice.choice((self.here, self.there))
        size, moment = dice.choice((1, 5, 12, 40, 1000, 1e9, 1e9, 1e9)), dice.choice(TIMES)
        which, seed = dice.random(), dice.randrange(2**32)
        steps: tuple[tuple[int, str, Callable[[], object]], ...] = (
            (30, "call", lambda: self.calls(random.Random(seed), 1 + int(which * 5))),
            (25, "arrive", lambda: self.arrive(way, size)),
            (1, DAMAGE, lambda: self.arrive(way, size, random.Random(seed))),
            (15, "exchange", self.exchange),
            (8, "cancel", lambda: self.cancel(which)),
            (6, "pass", lambda: self.pass_time(moment)),
            (8, "resume", lambda: self.resume(which)),
            (2, "pause", lambda: self.pause(way)),
            (2, "go on", lambda: self.go_on(way)),
            (2, "ping", self.ping),
            (3, STRAY, lambda: self.stray(FRAMES[int(which * len(FRAMES))])),
            (1, "end", lambda: self.hang_up(way, eof=which < 0.5)),
        )
        weights = [weight * (not self.large or name in SMOOTH) for weight, name, _ in steps]
        name, action = dice.choices([step[1:] for step in steps], weights)[0]
        return name, action

    async def step(self, name: str, action: Callable[[], object]) -> None:
        """Does it, lets everybody get as far as they can, and tells what came of it."""
        self.tell(f"-- {name}")
        action()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        self.told += sorted(self.acts) if self.large else self.acts
        self.acts.clear()
        for who, line in (("client", self.here), ("server", self.there)):
            if line.written:
                frames = self.serials.told(bytes(line.written), new=line is self.here, ordered=not self.large)
                self.tell(f"{who} wrote {frames}")
                line.written.clear()
        if self.serials.gap and self.gap < 0:
            self.gap = len(self.told)
        for number, task in list(self.pending.items()):
            if task.done():
                del self.pending[number]
                self.tell(f"call {number}: {outcome(task).replace(self.reason, '(reason)')}")

    async def end(self, host: Host) -> None:
        """Everything is closed, and nothing is left."""
        for line in (self.here, self.there):
            line.buffer.clear()
        closing = asyncio.ensure_future(self.connection.close())
        await self.settle()
        await closing
        if not self.there.closed:
            self.there.close()
        await self.settle()
        await host.close()
        await self.settle()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        self.tell(f"left: {len(self.pending)} calls, {sorted(task.get_coro().__qualname__ for task in left)} tasks")  # type: ignore[union-attr]  # all are coroutines
        assert not left and not self.pending, self.told[-1]

    def tell(self, line: str) -> None:
        self.told.append(line)

    def lost(self, reason: str) -> None:
        """What was wrong with bytes that are none of ours is said in other words by each engine."""
        self.reason = reason
        self.tell("lost")

    def unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.tell(f"UNHANDLED {context['message']} {context.get('exception')!r}")

    # -- what happens

    def calls(self, dice: random.Random, number: int) -> None:
        for _ in range(number):
            self.call(dice)

    def call(self, dice: random.Random) -> None:
        options: dict[str, Any] = {}
        if dice.random() < 0.3:
            options["timeout"] = dice.choice(TIMES)
        if dice.random() < 0.1:
            options["metadata"] = {"mark": b"m", "other": dice.randbytes(3)}
        name, params = self.wanted(dice)
        client: Any = self.client
        if options or dice.random() < 0.2:
            made: Awaitable[Any] = client.call(name, params, **options)
        else:
            made = getattr(client, name)(**params)
        if dice.random() < 0.1:
            made = asyncio.wait_for(made, dice.choice(TIMES))
        number = len(self.tasks)
        task = asyncio.ensure_future(_awaited(made))
        self.tasks.append(task)
        self.pending[number] = task

    def wanted(self, dice: random.Random) -> tuple[str, dict[str, Any]]:
        name = dice.choice(("act", "act", "act", "later", "add", "add", "none", "tell"))
        if name in ("act", "later"):
            marks = {f"k{i}": "v" * i for i in range(dice.choice((0, 0, 1, 3)))}
            value = dice.choice(ODD if dice.random() < 0.03 else VALUES + LARGE * self.large)
            params: dict[str, Any] = {"item": {"how": dice.choice(HOWS), "marks": marks, "value": value}}
        elif name == "add":
            params = {"a": dice.choice((0, 1, -5, 2**31 - 1, 2**31)), "b": dice.randrange(-(2**40), 2**40)}
        else:
            params = {"line": "a line"} if name == "tell" else {}
        if dice.random() < 0.02:
            params["more"] = 1
        if params and dice.random() < 0.02:
            del params[next(iter(params))]
        return name, params

    def arrive(self, line: Line, size: float, damage: random.Random | None = None) -> None:
        if line.closed or not line.reading:
            return
        data = bytes(line.other.buffer[: int(min(size, 2**31))])
        del line.other.buffer[: len(data)]
        if damage is not None:
            data = mutate(data, damage)
        if data:
            line.deliver(data)

    def exchange(self) -> None:
        """All that was written arrives; also what is answered at once, unless that is one engine's way."""
        for line in (self.here, self.there) if self.large else (self.there, self.here):
            self.arrive(line, 1e9)

    def cancel(self, which: float) -> None:
        if self.pending:
            number = list(self.pending)[int(which * len(self.pending))]
            self.tell(f"cancels {number}")
            self.pending[number].cancel()

    def resume(self, which: float) -> None:
        suspended = [future for future in self.handlers.suspended if not future.done()]
        if suspended:
            suspended[int(which * len(suspended))].set_result(None)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    def pause(self, line: Line) -> None:
        if not line.closed:
            line.protocol.pause_writing()

    def go_on(self, line: Line) -> None:
        if not line.closed:
            line.protocol.resume_writing()

    def ping(self) -> None:
        number = len(self.tasks)
        task = asyncio.ensure_future(_awaited(self.connection.ping(5.0)))
        self.tasks.append(task)
        self.pending[number] = task

    def stray(self, frame: bytes) -> None:
        """Something that no splnode client sends, between two frames or within one."""
        self.here.buffer += frame

    def hang_up(self, line: Line, *, eof: bool) -> None:
        if line.closed:
            return
        if not eof or not line.protocol.eof_received():
            line.close()


async def _awaited(made: Awaitable[Any]) -> Any:
    return await made


def outcome(task: asyncio.Task[Any]) -> str:
    """What came of a call, in words."""
    if task.cancelled():
        return "cancelled"
    error = task.exception()
    if error is None:
        return repr(task.result())
    more = (
        f" {error.code.name} {error.remote} {error.started} {error.retry_after}" if isinstance(error, CallError) else ""
    )
    return f"{type(error).__name__}{more}: {error}"


def played(dice: random.Random, engine: str) -> tuple[list[str], int]:
    """What happens with those dice and that engine, and from which place on serials differ from their numbers
    (-1: never). The clock, the ids of errors and the log are its own meanwhile."""
    clock = Clock()
    structlog.configure(
        processors=[], logger_factory=structlog.testing.CapturingLoggerFactory(), cache_logger_on_first_use=False
    )
    try:
        with (
            mock.patch.object(time, "monotonic", clock),
            mock.patch.object(uuid, "uuid4", lambda: uuid.UUID(int=5)),
            chosen_engine(engine),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("always")
            with asyncio.Runner() as runner:
                play = Play(dice, clock)
                told = runner.run(play.run())
            gc.collect()
    finally:
        structlog.reset_defaults()
    return told + [f"UNHANDLED {text}" for text in sorted({str(each.message) for each in warned})], play.gap


def one(data: bytes) -> None:
    """One script with both engines; AssertionError says where their stories part."""
    stories = [played(Fed(data), engine) for engine in ("plain", "native")]
    plain, native = (until_damaged(told, max(gap for _, gap in stories)) for told, _ in stories)
    unhandled = [line for line in plain + native if line.startswith("UNHANDLED")]
    assert not unhandled, unhandled
    assert plain == native, difference(plain, native)


def until_damaged(told: list[str], gap: int) -> list[str]:
    """Up to where bytes were changed when serials were different: they may mean another thing with each engine."""
    if gap < 0:
        return told
    return told[: next((i for i in range(gap, len(told)) if told[i] in (f"-- {DAMAGE}", f"-- {STRAY}")), len(told))]


def difference(plain: Sequence[str], native: Sequence[str]) -> str:
    """Where two stories part, with the steps before."""
    at = next((i for i, (one, other) in enumerate(zip(plain, native, strict=False)) if one != other), len(plain))
    before = "\n".join(line[:300] for line in plain[max(0, at - 12) : at])
    one, other = ("\n  ".join(line[:2000] for line in told[at : at + 4]) for told in (plain, native))
    return f"they part at line {at}:\n{before}\nplain:\n  {one}\nnative:\n  {other}"
