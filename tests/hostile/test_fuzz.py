"""Random and mutated bytes over thousands of connections: the node lives, says nothing of bugs, and leaks nothing.

SPLNODE_FUZZ_SECONDS=120 pytest --slow tests/hostile/test_fuzz.py -s       longer than the usual moment
"""

import contextlib
import os
import random
import socket
import struct
import time
from pathlib import Path

import pytest

from splnode.avro.codec import engines
from splnode.avro.protocol import find_protocol
from tests.hostile import texts
from tests.hostile.test_datums import BOMBS
from tests.hostile.victim import Victim, parameters
from tests.hostile.watch import dial
from tests.wire.conftest import handshake, long, netty, spec, string
from tests.wire.fuzz_session import mutate

SECONDS = float(os.environ.get("SPLNODE_FUZZ_SECONDS", "10"))
EXECUTE, DATA = find_protocol("SPLExecuteService"), find_protocol("SPLDataService")
PING = b"\0\0"
OTHER = texts.executing((), texts.field("x", "int"))
CALLS = [
    PING,
    b"\x02"
    + string("spl-timeout-ms")
    + long(3)
    + b"500\0"
    + string("execute")
    + parameters("spl/void/noop", {"a": "b"}),
    b"\0" + string("execute") + parameters("spl/data/write", {"topic": "t", "primaryKey": "k"}, b"\x04" + string("v")),
    b"\0" + string("execute") + parameters("spl/data/read", {"topic": "t", "limit": "1"}),
    b"\0" + string("execute") + parameters("gp/fs/list"),
    b"\0" + string("execute") + parameters("gp/fs/read", {"path": "../x"}),
    b"\0" + string("listAvailableModules"),
    b"\0" + string("getModuleSchema") + string("spl/data/write"),
    b"\0" + string("write") + string("t") + string("k") + b"\x04" + string("data") + b"\0",
    b"\0" + string("read") + string("t") + b"\0\0\0\0",
    b"\0" + string("nothing"),
    b"\x04" + string("spl-peer") + b"\x02?" + string("spl-cancel") + b"\x021\0\0",
]


def exchanges() -> list[bytes]:
    """What honest clients send in each framing, and some that is not so honest."""
    hellos = [
        handshake(EXECUTE.md5, EXECUTE.md5),
        handshake(DATA.md5, DATA.md5),
        handshake(b"?" * 16, b"?" * 16),
        handshake(b"1" * 16, EXECUTE.md5, OTHER),
        handshake(DATA.md5, b"\0" * 16, DATA.text),
    ]
    found = []
    for hello in hellos:
        found.append(netty(0, hello, PING) + b"".join(netty(n, call) for n, call in enumerate(CALLS, 1)))
        found.append(spec(hello, PING) + b"".join(spec(call) for call in CALLS))
        found.append(b"\0\0\0\0\x09ANONYMOUS\0\0\0\0" + spec(hello, PING) + spec(CALLS[1]))
        for call in CALLS[:4]:
            body = spec(hello, call)
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: avro/binary\r\nContent-Length: {len(body)}\r\n\r\n"
            chunks = b"".join(
                b"%x\r\n%s\r\n" % (len(body[at : at + 9]), body[at : at + 9]) for at in range(0, len(body), 9)
            )
            found.append(head.encode() + body + head.encode() + body)
            found.append(
                head.replace(f"Content-Length: {len(body)}", "Transfer-Encoding: chunked").encode()
                + chunks
                + b"0\r\n\r\n"
            )
    for kind, data in list(BOMBS.values())[:40]:
        text = texts.executing((), texts.field("x", kind)) if not isinstance(kind, list) else OTHER
        call = b"\0" + string("execute") + parameters("spl/void/noop") + data[:2000]
        found.append(netty(0, handshake(b"2" * 16, b"?" * 16, text), call) + netty(1, call))
    return found


def one(victim: Victim, data: bytes, dice: random.Random) -> None:
    """One connection: sends whole or in pieces, reads or does not, and goes in one of the ways to go."""
    with contextlib.suppress(OSError), dial(victim.tcp, 0.05) as sock:
        if dice.random() < 0.7:
            sock.sendall(data)
        else:
            at = 0
            while at < len(data):
                step = dice.choice((1, 3, 100, 5000))
                sock.sendall(data[at : at + step])
                at += step
        match dice.randrange(4):
            case 0:
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            case 1:
                sock.recv(65536)
            case 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS + 120)
@pytest.mark.parametrize("engine", engines())
def test_mutated_bytes(engine: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("SPLNODE_FUZZ_SEED", "0")) or random.randrange(2**32)
    print(f"seed {seed}")
    dice, seeds = random.Random(seed), exchanges()
    config = "drain_seconds = 0.0\n[limits]\nhandshake_seconds = 0.5\n"
    with Victim(tmp_path, config=config, env={"SPLNODE_ENGINE": engine}) as victim:

        def rounds(seconds: float) -> int:
            count, until = 0, time.monotonic() + seconds
            while time.monotonic() < until:
                data = dice.randbytes(dice.randrange(200)) if dice.random() < 0.1 else mutate(dice.choice(seeds), dice)
                one(victim, data, dice)
                count += 1
            return count

        victim.serves()
        idle = victim.descriptors
        rounds(min(3.0, SECONDS / 2))  # until caches are warm
        victim.settles(idle)
        memory = victim.memory()
        with victim.attacked(f"mutated bytes ({engine})"):
            count = rounds(SECONDS)
        victim.settles(idle)
        print(f"{count} connections, memory {memory:.1f} -> {victim.memory():.1f} MB, {victim.descriptors} descriptors")
        assert victim.memory() < memory + 30
        assert "handler failed" not in victim.log, victim.log[-4000:]
        victim.stays_well()
