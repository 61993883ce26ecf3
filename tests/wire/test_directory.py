"""Which protocol a client means: the order, one step after another; and what is remembered of clients."""

import pytest

from splnode.avro.protocol import Protocol
from splnode.errors import RemoteWireError
from splnode.limits import Limits
from splnode.wire.directory import ClientProtocols, Directory, parse
from splnode.wire.handshake import HandshakeRequest
from splnode.wire.message import PAIR_TEXTS, Contract
from tests.wire.conftest import CALCULATOR, OTHER, Wire, calculator, handshake, netty, protocol, spec, string

STRANGE = b"?" * 16
THIRD = protocol({"protocol": "Third", "namespace": "com.acme", "messages": {}})
SHORT_TWICE = protocol({"protocol": "Third", "namespace": "com.other", "messages": {}})


def directory(*protocols, default=None):
    return Directory([Contract(each) for each in protocols], default)


def chosen(where, *, client_hash=STRANGE, server_hash=STRANGE, client=None, **hints):
    return where.choose(HandshakeRequest(client_hash, None, server_hash), client, **hints).protocol


def named(name):
    return protocol({"protocol": name, "messages": {}})


def test_the_order():
    """Each hint names another service; what comes earlier wins, so hints are taken away from the front."""
    services = [protocol({"protocol": f"org.S{i}", "messages": {f"m{i}": {"request": [], "response": "null"}}})
                for i in range(7)]  # fmt: skip
    where = directory(*services, default="S6")
    hints = {
        "server_hash": services[0].md5,
        "client_hash": services[1].md5,
        "client": named("com.S2"),  # a short name of ours
        "path": "/S3",
        "service": "S4",
        "message": "m5",
    }
    for place, key in enumerate([*hints, None]):
        assert chosen(where, **hints) == services[place]
        if key:
            del hints[key]


def test_the_full_name_of_a_known_client_goes_first():
    """Java keeps one serverHash for an address, whatever service its last client there called."""
    where = directory(OTHER, CALCULATOR)
    assert chosen(where, client=CALCULATOR, server_hash=OTHER.md5, client_hash=OTHER.md5) == CALCULATOR


def test_full_name_before_short_name():
    where = directory(named("com.acme.Thing"), named("org.Thing2"), named("Thing2.Thing"))
    assert chosen(where, client=named("Thing2.Thing")).name == "Thing2.Thing"
    assert chosen(where, client=named("x.Thing2")).name == "org.Thing2"


def test_a_short_name_of_two_services_means_none():
    where = directory(CALCULATOR, THIRD, SHORT_TWICE)
    assert chosen(where, client=named("Third")) == CALCULATOR
    assert chosen(where, client=named("com.other.Third")) == SHORT_TWICE
    where.remove("com.acme.Third")
    assert chosen(where, client=named("Third")) == SHORT_TWICE


@pytest.mark.parametrize("path", ["/Other", "/org.example.Other", "Other", "/api/Other/", "/Other?x=/y"])
def test_paths(path):
    assert chosen(directory(CALCULATOR, OTHER), path=path) == OTHER


@pytest.mark.parametrize("path", ["", "/", "/?Other", "/Unknown", None])
def test_paths_that_name_nothing(path):
    assert chosen(directory(CALCULATOR, OTHER), path=path) == CALCULATOR


def test_a_message_of_two_services_means_none():
    again = protocol(calculator(protocol="Again"))
    where = directory(OTHER, CALCULATOR, again, default="Other")
    assert chosen(where, message="add") == OTHER
    where.remove(again.name)
    assert chosen(where, message="add") == CALCULATOR
    assert chosen(where, message="") == OTHER


def test_adding_and_removing():
    where = directory(CALCULATOR)
    newer = protocol(calculator(doc="newer"))
    where.add(Contract(newer))
    assert [each.protocol for each in where.contracts] == [newer]
    assert where.by_hash(CALCULATOR.md5) is None
    where.remove("nobody")
    where.remove(newer.name)
    with pytest.raises(RemoteWireError, match="no protocol is served"):
        chosen(where)


def test_a_default_that_is_not_there_is_the_first():
    assert chosen(directory(OTHER, CALCULATOR, default="Gone")) == OTHER


def test_discovery_by_avsc():
    """A protocol of another name without messages gets the default service's text, or the one it names."""
    for name, wanted in (("Empty", OTHER), ("Calculator", CALCULATOR), ("org.example.Calculator", CALCULATOR)):
        empty = named(name)
        wire = Wire(CALCULATOR, OTHER, default="org.example.Other")
        wire.feed(netty(0, handshake(empty.md5, empty.md5, empty.text) + b"\0\0"))
        assert string(wanted.text) in wire.sent()
    wire.server = Wire(OTHER, CALCULATOR).server
    wire.feed(netty(0, handshake(empty.md5, empty.md5) + b"\0\0"))
    assert string(OTHER.text) in wire.sent()


def test_a_guess_of_ours_that_is_repeated_says_nothing():
    """avsc knows no service at first, takes the hash it is told and sends its text with it."""
    text = protocol(calculator(doc="avsc's own serialisation"))
    wire = Wire(OTHER, CALCULATOR)
    wire.feed(netty(0, handshake(text.md5, text.md5) + b"\0\0"))
    assert wire.sent()[12:].startswith(b"\x04\x02" + string(OTHER.text))
    wire.feed(netty(1, handshake(text.md5, OTHER.md5, text.text) + b"\0\0"))
    assert wire.sent()[12:].startswith(b"\x02\x02" + string(CALCULATOR.text))
    # One who came with that hash by himself means it, where he is not called like another service.
    stranger = protocol(calculator(protocol="Stranger"))
    wire = Wire(OTHER, CALCULATOR)
    wire.feed(netty(0, handshake(stranger.md5, OTHER.md5) + b"\0\0"))
    wire.sent()
    wire.feed(netty(1, handshake(stranger.md5, OTHER.md5, stranger.text) + b"\0\0"))
    assert wire.sent()[12:] == bytes(4) + b"\0\0"


@pytest.mark.parametrize("framing", ["http", "netty"])
def test_the_full_name_in_a_text_goes_before_the_hash(framing):
    """Java and Python over HTTP, avsc over connections of one call: the guess came back on another connection."""
    text = protocol(calculator(doc="another serialisation"))
    wire = Wire(OTHER, CALCULATOR, framing=framing)
    request = handshake(text.md5, OTHER.md5, text.text) + b"\0\0"
    wire.feed(netty(0, request) if framing == "netty" else spec(request))
    told = b"\x02\x02" + string(CALCULATOR.text) + b"\x02" + CALCULATOR.md5 + b"\0"
    assert told in wire.sent()


def test_what_is_remembered_of_clients():
    clients = ClientProtocols()
    first = clients.learn(STRANGE, CALCULATOR.text)
    assert first == CALCULATOR
    assert clients.get(STRANGE) is None
    assert clients.get(CALCULATOR.md5) is None
    assert clients.learn(CALCULATOR.md5, CALCULATOR.text) is first
    assert clients.get(CALCULATOR.md5) is first
    with pytest.raises(RemoteWireError, match="the client's protocol cannot be read"):
        clients.learn(STRANGE, "[]")


def test_long_texts_are_bounded_together():
    limits = Limits(protocol_bytes=20_000, client_protocols=1000)
    clients = ClientProtocols(limits)
    texts = [protocol(calculator(doc=f"{i:0>900}")) for i in range(100)]
    for each in texts:
        clients.learn(each.md5, each.text)
    kept = [each for each in texts if clients.get(each.md5)]
    assert kept == texts[-len(kept) :]
    assert sum(len(each.text) for each in kept) <= PAIR_TEXTS * 20_000
    assert len(kept) > 10


def test_parse_says_whose_text_it_is():
    with pytest.raises(RemoteWireError, match="the server's protocol cannot be read: "):
        parse("{}", "the server's protocol", Limits())


def test_the_hash_of_avsc():
    """The MD5 of JSON.stringify(protocol), made with node from a protocol with blanks, escapes and letters."""
    text = r'{ "protocol": "Green", "x": [1, 2.5, true, null, "\u001f/\u2028\\"], "doc": "gr\u00fcn", "messages": {} }'
    other = Protocol.parse(text)
    where = directory(CALCULATOR, other)
    md5 = bytes.fromhex("593ac092c56b60c8889c7334286c83ae")
    assert chosen(where, client_hash=md5) == other
    assert where.by_hash(md5) is None  # what the client speaks it still has to tell
    where.remove("Green")
    assert chosen(where, client_hash=md5) == CALCULATOR
