"""Garbage closes the session with RemoteWireError and does nothing else.

What else is held: the same bytes mean the same in any pieces; nothing is counted as open that is not; and a
session that has failed stays so. `scripts/fuzz` tries inputs that coverage finds, the tests own mutations of recorded
connections.
"""

import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

from splnode.errors import CallError, Code, LocalWireError, RemoteWireError
from splnode.limits import Limits
from splnode.wire.events import Cancel, Handover, Request, Response
from splnode.wire.message import Contract
from splnode.wire.session import ClientProtocols, ClientSession, Directory, ServerSession
from tests.wire.conftest import CALCULATOR, OTHER, calculator, handshake, long, netty, protocol, spec, string

LIMITS = Limits(message_bytes=20_000, message_buffers=16, calls_per_connection=4, metadata_entries=8)
OWN = CALCULATOR.md5
NEWER = protocol(
    calculator(doc="newer", messages={**calculator()["messages"], "more": {"request": [], "response": "null"}})
)
ASK = b"\x02" + string("spl-peer") + b"\x02?\0\0"
PING = b"\0\0"
ADD = b"\0" + string("add") + b"\x04\x50"
ECHO = b"\x02" + string("k") + string("v") + b"\0" + string("echo") + string("text")
LOG = b"\0" + string("log") + string("line")
CANCEL = b"\x02" + string("spl-cancel") + string("3") + b"\0\0"
CALLS = (ADD, ECHO, LOG, PING, CANCEL, b"\0" + string("nothing"), b"\0" + string("gone"), ADD + b"\0")
TOLD = b"\x02" + string(NEWER.text) + b"\x02" + NEWER.md5 + b"\0"

CONTRACTS = [Contract(CALCULATOR, limits=LIMITS), Contract(OTHER, limits=LIMITS)]
PARSED = ClientProtocols(LIMITS)._parsed  # parsing is slow; what is known by its hash must not outlive a session


def _streams(frame: Callable[..., bytes]) -> Iterator[bytes]:
    requests = (
        handshake(OWN, OWN),
        handshake(b" " * 16, b" " * 16),
        handshake(NEWER.md5, OWN, NEWER.text),
        handshake(b"?" * 16, OTHER.md5, CALCULATOR.text, b"\x02\x02" + string("k") + string("v") + b"\0"),
    )
    for shake in requests:
        yield frame(0, shake + ASK) + b"".join(frame(i, call) for i, call in enumerate(CALLS, 1))
        yield frame(0, shake + ADD) + frame(1, shake + ECHO) + frame(2, ADD) * 6
        yield frame(0, shake) + frame(1, shake, b"\0", b"\0") + frame(2, b"\0", string("add"), b"\x04", b"\x50")
    answers = (
        b"\0\0\x54",
        b"\0\x01\0" + string("no"),
        b"\0\x01\x02\x0e",
        b"\x02" + string("spl-code") + b"\x02X\0\x01\0\0",
        PING,
    )
    for hello in (bytes(4), b"\x04" + TOLD, b"\x02" + TOLD, b"\x04\0\0\0"):
        yield b"".join(frame(i, hello + PING) for i in range(3)) + b"".join(
            frame(i, a) for i, a in enumerate(answers, 1)
        )


SEEDS = [
    *_streams(netty),
    *_streams(lambda _, *buffers: spec(*buffers)),
    *(b"\0\0\0\0\x09ANONYMOUS\0\0\0\0" + each for each in list(_streams(lambda _, *buffers: spec(*buffers)))[:3]),
    *(b"\x03\0\0\0\0" + each for each in list(_streams(lambda _, *buffers: spec(*buffers)))[-4:]),
    b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\3\3",
]


def mutate(data: bytes, dice: random.Random) -> bytes:
    """A few of the things that go wrong with bytes."""
    out = bytearray(data)
    for _ in range(dice.choice((0, 1, 1, 2, 4, 16))):
        if not out:
            break
        at = dice.randrange(len(out))
        match dice.randrange(8):
            case 0:
                out[at] ^= 1 << dice.randrange(8)
            case 1:
                out[at] = dice.choice((0, 1, 2, 3, 0x7F, 0x80, 0xFF))
            case 2:
                del out[at : at + dice.randrange(1, 9)]
            case 3:
                out[at:at] = dice.randbytes(dice.randrange(1, 9))
            case 4:
                out[at : at + 4] = struct.pack(
                    ">I", dice.choice((0, 1, 2, 17, 34, 1025, 20_001, 2**31 - 1, 2**31, 2**32 - 1))
                )
            case 5:
                del out[at:]
            case 6:
                out[at:at] = long(dice.choice((-(2**63), -1, 0, 1, 2**31, 2**62, 2**63 - 1)))
            case 7:
                other = dice.choice(SEEDS)
                out[at:] = other[dice.randrange(len(other)) :]
    return bytes(out)


def pieces(data: bytes, dice: random.Random) -> Iterator[bytes]:
    """The data whole, byte by byte or in random cuts."""
    way = dice.randrange(3)
    most = (len(data), 1, 50)[way] or 1
    at = 0
    while at < len(data):
        step = most if way < 2 else dice.randrange(1, most)
        yield data[at : at + step]
        at += step


def _answer(session: ServerSession, request: Request) -> None:
    """Any answer that fits, chosen by the request alone."""
    if request.message.name == "add":
        if request.params["a"] % 3 == 0:
            session.fail(request, CallError(Code.ABORTED, "no", started=False))
        else:
            session.respond(request, request.params["a"])
    else:
        session.respond(request, "text" if request.message.response.kind == "string" else None)


def serve(data: Iterator[bytes], framing: str | None) -> tuple[list[Any], list[bytes], bool]:
    """What a server makes of a stream: its events, what it sent, and whether it failed."""
    clients = ClientProtocols(LIMITS)
    clients._parsed = PARSED
    session = ServerSession(Directory(CONTRACTS), clients, framing=framing, limits=LIMITS)
    seen: list[Any] = []
    sent: list[bytes] = []

    def take(chunk: bytes | None) -> bool:
        """One feed and the answers to what it brings; True while it goes on."""
        try:
            events = session.receive_eof() if chunk is None else session.receive_data(chunk)
        except RemoteWireError as error:
            assert session.failed is error
            return False
        for event in events:
            if isinstance(event, Request):
                seen.append((event.serial, event.message.name, event.params, dict(event.metadata), event.one_way))
                _answer(session, event)
            elif isinstance(event, Handover):
                seen.append((event.framing,))
                raise LocalWireError("handed over")
            else:
                assert isinstance(event, Cancel)  # depends on what was answered meanwhile
        sent.extend(session.data_to_send())
        return session.failed is None and (not events or take(b""))

    try:
        going = all(take(chunk) for chunk in data) and take(None)
    except LocalWireError:
        return seen, sent, False
    sent.extend(session.data_to_send())
    assert session.in_flight == 0
    if not going:
        assert session.failed is not None
        try:
            session.receive_data(b"\0")
        except RemoteWireError:
            pass
        else:
            raise AssertionError("a session that has failed goes on")
    return seen, sent, not going


def ask(data: Iterator[bytes], framing: str) -> tuple[list[Any], list[bytes], bool]:
    """What a client makes of a stream."""
    session = ClientSession(CONTRACTS[0], framing=framing, limits=LIMITS)
    if framing != "http":
        session.start()
    for _ in range(3):
        session.call("add", {"a": 2, "b": 40})
    seen: list[Any] = []
    try:
        for chunk in data:
            for event in session.receive_data(chunk):
                told = (event.serial, event.value, str(event.error)) if isinstance(event, Response) else ()
                seen.append((type(event).__name__, *told))
            if session.failed is not None:
                break
        session.receive_eof()
    except RemoteWireError as error:
        assert session.failed is error
    return seen, session.data_to_send(), session.failed is not None


SERVED, ASKED = (None, "netty", "spec", "http"), ("netty", "spec", "sasl", "http")
"""The framings that each end may be told, or find."""


def one(data: bytes, seed: int) -> None:
    """One input, over every framing that it may be taken for, whole and in pieces."""
    for framing in SERVED:
        served_alike(data, framing, seed)
    for framing in ASKED:
        asked_alike(data, framing, seed)


def served_alike(data: bytes, framing: str | None, seed: int) -> None:
    """What a server makes of it in pieces is what it makes of the whole."""
    whole = serve(iter([data]), framing)
    cut = serve(pieces(data, random.Random(seed)), framing)
    assert whole[0] == cut[0], (framing, whole[0], cut[0])
    assert sorted(whole[1]) == sorted(cut[1]), (framing, whole[1], cut[1])
    assert whole[2] == cut[2], (framing, whole[2], cut[2])


def asked_alike(data: bytes, framing: str, seed: int) -> None:
    """The same of a client."""
    whole, cut = ask(iter([data]), framing), ask(pieces(data, random.Random(seed)), framing)
    assert whole == cut, (framing, whole, cut)


def case(seed: int) -> None:
    """One mutated seed, or pure noise."""
    dice = random.Random(seed)
    data = dice.randbytes(dice.randrange(100)) if dice.random() < 0.05 else mutate(dice.choice(SEEDS), dice)
    try:
        one(data, seed)
    except Exception as error:
        raise AssertionError(f"seed {seed}: {data.hex()}") from error
