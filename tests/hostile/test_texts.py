"""Hostile protocol texts, over a socket: none of them costs the node its memory or the others their time."""

import contextlib
import hashlib
import threading

import pytest

from splnode.avro.protocol import find_protocol
from tests.hostile import texts
from tests.hostile.victim import Victim, parameters
from tests.hostile.watch import dial, hello, netty_reply
from tests.wire.conftest import handshake, netty, string

MUCH = 50.0
"""MB."""
SOME = {"a chain of records", "records of 4,000 fields"}


def all_but(some: set[str], every: dict[str, str]) -> list[object]:
    return [name if name in some else pytest.param(name, marks=pytest.mark.slow) for name in every]


def shake(text: str, *call: bytes) -> bytes:
    return netty(7, handshake(hashlib.md5(text.encode()).digest(), b"?" * 16, text), *(call or (b"\0\0",)))


@pytest.mark.parametrize("name", all_but(SOME, texts.READABLE))
def test_a_text_that_can_be_read(victim: Victim, name: str) -> None:
    text = texts.READABLE[name]
    assert len(text) <= texts.LONGEST
    with victim.attacked(name):
        with dial(victim.tcp) as sock:
            sock.sendall(shake(text))
            assert netty_reply(sock)[0] == 7
    assert victim.peak < MUCH


@pytest.mark.parametrize("name", texts.REFUSED)
def test_a_text_that_is_refused(victim: Victim, name: str) -> None:
    with victim.attacked(name):
        with dial(victim.tcp) as sock:
            with contextlib.suppress(ConnectionError):  # it may not even want to hear all of it
                sock.sendall(shake(texts.REFUSED[name]))
                assert sock.recv(1) == b""
    assert victim.peak < MUCH


@pytest.mark.parametrize("name", all_but({"3,900 fields to skip"}, texts.RESOLVED))
def test_a_protocol_that_is_resolved(each_victim: Victim, name: str) -> None:
    text = texts.RESOLVED[name]
    with each_victim.attacked(name):
        with dial(each_victim.tcp) as sock:
            sock.sendall(shake(text, b"\0", string("execute"), parameters("spl/void/noop"), bytes(100_000)))
            assert netty_reply(sock)[0] == 7
            sock.sendall(netty(8, b"\0", string("execute"), parameters("spl/void/noop"), bytes(10)) * 100)
            for _ in range(100):
                assert netty_reply(sock)[0] == 8
    assert each_victim.peak < MUCH


def new(number: int, size: str) -> str:
    types = {"small": [], "middling": [texts.fixed(n) for n in range(200)]}
    return texts.protocol(types[size], number=number)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "middling"])
def test_a_thousand_new_texts_on_as_many_connections(victim: Victim, size: str) -> None:
    with victim.attacked(f"1,000 {size} texts"):
        for number in range(1000):
            with dial(victim.tcp) as sock:
                sock.sendall(shake(new(number, size)))
                assert netty_reply(sock)[0] == 7
    assert victim.peak < MUCH


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_sixty_of_the_longest_texts(victim: Victim) -> None:
    text = texts.READABLE["records of 4,000 fields"]
    with victim.attacked("60 of the longest texts"):
        for number in range(60):
            with dial(victim.tcp, 60) as sock:
                sock.sendall(shake(text[:-1] + f',"number":{number}}}'))
                assert netty_reply(sock)[0] == 7
    assert victim.peak < MUCH


@pytest.mark.parametrize("size", ["small", pytest.param("middling", marks=pytest.mark.slow)])
def test_a_storm_of_handshakes_on_one_connection(victim: Victim, size: str) -> None:
    count = 1000
    with victim.attacked(f"a storm of {size} texts"):
        with hello(victim.tcp) as sock:
            own = find_protocol("SPLExecuteService").md5
            storm = [netty(n, handshake(own, b"?" * 16, new(n, size)), b"\0\0") for n in range(count)]
            sender = threading.Thread(target=sock.sendall, args=(b"".join(storm),))
            sender.start()
            assert [netty_reply(sock)[0] for _ in range(count)] == list(range(count))
            sender.join()
    assert victim.peak < MUCH
