import pytest

from splnode.errors import LocalWireError, RemoteWireError
from splnode.wire import sasl

START = b"\0" + b"\0\0\0\x09ANONYMOUS" + b"\0\0\0\0"


def test_start():
    assert sasl.start() == START
    assert sasl.read_start(START + b"more") == (b"ANONYMOUS", b"", len(START))
    assert all(sasl.read_start(START[:n]) is None for n in range(len(START)))
    assert sasl.read_start(sasl.start(b"me")) == (b"ANONYMOUS", b"me", len(START) + 2)


def test_reply():
    assert sasl.read_reply(sasl.COMPLETED + b"more") == 5
    assert all(sasl.read_reply(sasl.COMPLETED[:n]) is None for n in range(5))
    assert sasl.read_reply(b"\x03\0\0\0\x02ok") == 7


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (sasl.fail("no"), "refused SASL ANONYMOUS: no"),
        (b"\x02\0\0\0\0", "no reason"),
        (b"\x01\0\0\0\0", "one step"),
        (b"\x04", "not 04"),
        (b"\x03\x7f\xff\xff\xff", "2147483647 bytes"),
    ],
)
def test_refusals(data, told):
    with pytest.raises(RemoteWireError, match=told):
        sasl.read_reply(data)


@pytest.mark.parametrize("whose", [b"", b"ci"])
def test_plain(whose):
    assert sasl.read_plain(whose + b"\0ci\0spl_\xc3\xa9") == ("ci", "spl_\xe9")


def test_plain_is_said_as_it_is_read():
    name, response, end = sasl.read_start(sasl.start_plain("ci", "spl_\xe9") + b"more")
    assert (name, sasl.read_plain(response)) == (b"PLAIN", ("ci", "spl_\xe9"))
    assert end == len(sasl.start_plain("ci", "spl_\xe9"))


@pytest.mark.parametrize(("name", "password"), [("", "secret"), ("ci", ""), ("c\0i", "secret"), ("ci", "secret\0x")])
def test_what_plain_cannot_say(name, password):
    with pytest.raises(LocalWireError, match="neither has a zero character") as caught:
        sasl.start_plain(name, password)
    assert "secret" not in str(caught.value)
    with pytest.raises(LocalWireError, match="4096 bytes at most"):
        sasl.start_plain("ci", "x" * 4096)


@pytest.mark.parametrize("said", [b"", b"ci", b"\0ci", b"\0ci\0", b"\0\0x", b"me\0ci\0x", b"\0ci\0x\0y", b"\0ci\0\xff"])
def test_bad_plain(said):
    with pytest.raises(RemoteWireError, match="name and a password") as caught:
        sasl.read_plain(said)
    assert "ci" not in str(caught.value)


@pytest.mark.parametrize("data", [b"\x01", b"\0\x7f\xff\xff\xff", START[:14] + b"\xff\xff\xff\xff"])
def test_bad_starts(data):
    with pytest.raises(RemoteWireError):
        sasl.read_start(data)
