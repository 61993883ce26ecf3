"""Targets: bytes of peers, as the wire's machines and the connections that hold them get them."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from splnode.access import policy as policies
from splnode.access.guard import Guard
from splnode.avro.codec import engines
from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, DataError, RemoteWireError
from splnode.limits import Limits
from splnode.net.accepted import ServerConnection
from splnode.net.connection import ClientConnection
from splnode.net.errands import Errands
from splnode.net.host import Host
from splnode.net.http_exchange import HttpExchange, HttpFault
from splnode.rpc.admission import Admission
from splnode.rpc.call import current_call
from splnode.rpc.client import Client
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire import handshake as shakes
from splnode.wire import sasl
from splnode.wire.client import ClientSession
from splnode.wire.directory import Directory
from splnode.wire.events import Errand
from splnode.wire.message import Contract
from splnode.wire.metadata import metadata_codec
from tests.engines import chosen_engine
from tests.fuzzers.dice import Fed
from tests.net import fuzz_calls
from tests.net.fuzz_calls import ENDPOINT, Line
from tests.wire import fuzz_session
from tests.wire.conftest import CALCULATOR, OTHER

LIMITS = Limits(message_bytes=20_000, message_buffers=16, calls_per_connection=50, metadata_entries=8, nodes=1000)
TURNS = 12
"""Turns of the loop: enough for every call here to be answered."""


def session(data: bytes) -> None:
    """The plain sessions, of either end and in any framing, whole and in pieces: alike, or RemoteWireError."""
    if not data:
        return
    which, data = data[0] % 8, data[1:]
    if which < 4:
        fuzz_session.served_alike(data, fuzz_session.SERVED[which], len(data))
    else:
        fuzz_session.asked_alike(data, fuzz_session.ASKED[which - 4], len(data))


def handshake(data: bytes) -> None:
    """Handshakes and metadata: refused, or what is written again reads the same."""
    for read, write in (
        (shakes.read_request, shakes.write_request),
        (shakes.read_response, shakes.write_response),
    ):
        with contextlib.suppress(RemoteWireError):
            found, end = read(data, LIMITS)
            assert 0 < end <= len(data)
            assert read(write(found), LIMITS)[0] == found
    codec = metadata_codec(LIMITS)
    with contextlib.suppress(RemoteWireError, DataError):
        metadata, end = codec.read(data, 0)
        assert end <= len(data) and len(metadata) <= LIMITS.metadata_entries
        assert codec.read(codec.write(metadata), 0)[0] == metadata


def greeting(data: bytes) -> None:
    """SASL of both sides: what is there in part only is waited for."""
    for read in (sasl.read_start, sasl.read_reply):
        with contextlib.suppress(RemoteWireError):
            found: Any = read(data)
            if found is not None:
                end = found if isinstance(found, int) else found[-1]
                assert 0 < end <= len(data)
                assert read(data[:end]) == found
                assert read(data[: end - 1]) is None


def http_answer(data: bytes) -> None:
    """What a server says to a client's POST: HttpFault or bodies, alike in any pieces."""
    assert _answers(iter([data])) == _answers(fuzz_session.pieces(data, Fed(data[-8:])))


def _answers(data: Iterator[bytes]) -> list[bytes | str]:
    exchange = HttpExchange(Endpoint.parse("http+avro://127.0.0.1:1/"), LIMITS)
    exchange.post(b"body")
    told: list[bytes | str] = []
    try:
        for part in data:
            body = exchange.receive(part) if part else None
            if body is not None:
                return [body]  # what may follow is the next exchange's
        told.append(repr(exchange.receive(b"")))
    except HttpFault:
        told.append("fault")
    return told


# -- connections


class Calculator:
    """Answers at once, later, and with each kind of failure. `ran` has what was called."""

    def __init__(self) -> None:
        self.ran = set[str]()

    def add(self, a: int, b: int) -> int:
        self.ran.add("add")
        if a == 3:
            raise CallError(Code.ABORTED, "no")
        return (a + b) % 2**31

    async def echo(self, text: str) -> str:
        self.ran.add("echo")
        await asyncio.sleep(0)
        current_call().answer_metadata = {"mark": b"1"}
        return text

    def nothing(self) -> None:
        self.ran.add("nothing")

    def log(self, line: str) -> None:
        self.ran.add("log")


class Prompt(Errands):
    """Does them at once: threads come when they like, and the two engines are compared."""

    def run(self, errand: Errand, done: Callable[[bool], None]) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        errand.run()  # what it raises is a bug
        future.set_result(None)
        future.add_done_callback(lambda _: future.cancelled() or done(True))
        return future


def request(data: bytes) -> None:
    """A whole connection that is accepted, from its first byte: each engine writes the same answers."""
    told = [_run(name, _accepted(data)) for name in engines()]
    assert len(set(told)) == 1, told


POLICY = """
[[rule]]
who = ["@loopback"]
allow = ["org.example.Calculator.add"]
[[rule]]
who = ["*"]
allow = ["org.example.Calculator.nothing"]
"""
PEERS = {("127.0.0.1", 5): {"add", "nothing"}, ("10.0.0.1", 5): {"nothing"}}
"""Where a peer comes from, and what it may call."""


def guarded(data: bytes) -> None:
    """The same with a policy: whatever is said, and however, nothing runs that this peer may not call."""
    address, allowed = list(PEERS.items())[data[:1] > b"\x7f"]
    told = []
    for name in engines():
        calculator = Calculator()
        told.append(_run(name, _accepted(data, calculator, address)))
        assert calculator.ran <= allowed, (name, calculator.ran - allowed)
    assert len(set(told)) == 1, told


def answer(data: bytes) -> None:
    """A whole connection of a client, whose server is the input: each engine says the same of the calls."""
    told = [_run(name, _asked(data)) for name in engines()]
    assert len(set(told)) == 1, told


def calls(data: bytes) -> None:
    """Scripts of calls, cut and damaged bytes, time, cancelling, ends: both engines write and answer the same."""
    if "native" in engines():
        fuzz_calls.one(data)


def _run(engine: str, story: Any) -> str:
    structlog.configure(
        processors=[], logger_factory=structlog.testing.CapturingLoggerFactory(), cache_logger_on_first_use=False
    )
    try:
        with chosen_engine(engine), asyncio.Runner() as runner:
            told: str = runner.run(story)
            return told
    finally:
        structlog.reset_defaults()


async def _accepted(data: bytes, calculator: Calculator | None = None, address: object = None) -> str:
    faults: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(repr(context)))
    gate = Admission()
    server = Server(CALCULATOR, calculator or Calculator(), interceptors=(gate,), limits=LIMITS)
    router = Router({CALCULATOR.name: server})
    if calculator is not None:
        router.obey(Guard(policies.parse(POLICY)))
    host = Host(
        router,
        Directory([server.contract, Contract(OTHER, limits=LIMITS)]),
        LIMITS,
        share=gate.share,
    )
    host.errands.close()
    host.errands = Prompt()
    line = _line(ServerConnection(host, ENDPOINT), address)
    try:
        for part in fuzz_session.pieces(data[1:], Fed(data[:1] * 8)):
            if line.closed:
                break
            line.deliver(part)
            await _turns()
        if not line.closed and (not line.protocol.eof_received() or line.closed):
            line.close()
        await _turns()
        return f"{bytes(line.written).hex()} {faults}"
    finally:
        line.close()
        await host.close()
        await _turns()
        assert not faults, faults


async def _asked(data: bytes) -> str:
    faults: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(repr(context)))
    contract = Contract(CALCULATOR, limits=LIMITS)
    lost: list[str] = []
    connection = ClientConnection(ClientSession(contract, limits=LIMITS), ENDPOINT, ChannelsConfig(), lost.append)
    client: Any = Client(connection, contract, timeout=30.0)
    line = _line(connection)
    wanted = [client.add(a=2, b=40), client.echo(text="text"), client.nothing(), client.add(a=1, b=1)]
    tasks = [asyncio.ensure_future(fuzz_calls._awaited(each)) for each in wanted]
    try:
        await _turns()
        for part in fuzz_session.pieces(data[1:], Fed(data[:1] * 8)):
            if line.closed:
                break
            line.deliver(part)
            await _turns()
        came = [outcome(task) for task in tasks]
    finally:
        await connection.close()
        line.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _turns()
    assert not faults, faults
    return f"{came} {bool(lost)}"


def outcome(task: "asyncio.Task[Any]") -> str:
    """What came of a call; of one that failed with its connection only that: each engine has its words for why."""
    if not task.done():
        return "open"
    error = None if task.cancelled() else task.exception()
    if isinstance(error, CallError) and not error.remote:
        return error.code.name
    return fuzz_calls.outcome(task)


def _line(protocol: Any, address: object = None) -> Line:
    line = Line(protocol)
    line.address = address
    protocol.connection_made(line)
    return line


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
