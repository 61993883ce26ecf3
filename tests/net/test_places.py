import os
import socket
from typing import Any

import pytest

from splnode.limits import Limits
from splnode.net.places import HOST, OWN, Places, most_connections, of_address, whence
from splnode.net.reached import OPEN_FILES


def places(room: int = 100, **limits: int) -> tuple[Places[str], list[tuple[str, str]]]:
    gone: list[tuple[str, str]] = []
    return Places(Limits(**limits), lambda who, limit: gone.append((who, limit)), room), gone


def test_connections_in_all() -> None:
    made, _ = places(connections=2)
    assert [made.enter(name, f"10.0.0.{name}") for name in "123"] == ["", "", "connections"]
    made.leave("1")
    assert made.enter("3", "10.0.0.3") == ""
    assert made.enter("own", OWN) == ""  # must be able to look after it
    assert made.enter("4", HOST) == "connections"


def test_open_files_bound_everybody_and_the_operator_a_little_later() -> None:
    made, gone = places(2)
    for name in "12":
        assert made.has_room()
        assert made.enter(name, "10.0.0.1") == ""
        made.greeted(name)
    assert not made.has_room()
    assert made.enter("3", "10.0.0.1") == OPEN_FILES
    for name in "abcdefgh":
        assert made.has_room(0, OWN)
        assert made.enter(name, OWN) == ""
    assert not made.has_room(0, OWN)
    assert made.enter("i", OWN) == OPEN_FILES
    made.leave("a")
    assert made.has_room(0, OWN)
    assert not made.has_room(1, OWN)
    assert not made.has_room()
    assert gone == []


def test_who_says_nothing_goes_before_anybody_waits_for_descriptors() -> None:
    made, gone = places(2)
    for name in "12":
        assert made.enter(name, f"10.0.0.{name}") == ""
    made.greeted("1")
    assert made.has_room()
    assert made.enter("3", "10.0.0.3") == ""
    assert gone == [("2", OPEN_FILES)]


def test_connections_of_one_address() -> None:
    made, _ = places(connections_per_address=2)
    assert [made.enter(name, "10.0.0.1") for name in "123"] == ["", "", "connections_per_address"]
    assert made.enter("4", "10.0.0.2") == ""
    assert [made.enter(name, HOST) for name in "abc"] == ["", "", ""]
    made.leave("1")
    made.leave("1")
    made.leave("never there")
    assert made.enter("3", "10.0.0.1") == ""


def test_the_oldest_handshake_of_an_address_goes_first() -> None:
    made, gone = places(handshakes_per_address=2, handshakes=3)
    for name in "12":
        made.enter(name, "10.0.0.1")
    made.enter("x", "10.0.0.2")
    made.enter("3", "10.0.0.1")
    assert gone == [("1", "handshakes_per_address")]
    assert made.greeting == 3
    made.enter("h", HOST)
    assert gone[1:] == [("2", "handshakes")]
    made.greeted("x")
    made.greeted("x")
    assert not made.greets("x")
    assert made.greets("3")
    made.enter("i", HOST)
    assert len(gone) == 2
    for name in ("1", "2", "3", "x", "h", "i"):
        made.leave(name)
    assert made.greeting == 0
    assert not made._counts
    assert not made._greeting_from


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("127.0.0.1", HOST),
        ("127.9.9.9", HOST),
        ("::1", HOST),
        ("::ffff:127.0.0.1", HOST),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
    ],
)
def test_addresses(address: str, counts_as: str) -> None:
    assert of_address(address) == counts_as


class Transport:
    def __init__(self, **extra: Any) -> None:
        self._extra = extra

    def get_extra_info(self, name: str) -> Any:
        return self._extra.get(name)


def test_whence() -> None:
    tcp: Any = Transport(peername=("10.1.2.3", 5))
    assert whence(tcp) == "10.1.2.3"
    one, other = socket.socketpair()
    with one, other:
        unix: Any = Transport(socket=one, peername="")
        assert whence(unix) == OWN


def test_whence_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    one, other = socket.socketpair()
    with one, other:
        unix: Any = Transport(socket=one, peername="")
        uid = os.stat(f"/proc/{os.getpid()}").st_uid  # noqa: PTH116 - the real one
        assert whence(unix) == (OWN if uid == 0 else f"uid:{uid}")


@pytest.mark.parametrize(("soft", "room"), [(64, 32), (1024, 896), (20_000, 18_976), (1_000_000, 998_976)])
def test_most_connections(monkeypatch: pytest.MonkeyPatch, soft: int, room: int) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (soft, soft))
    assert most_connections() == room
