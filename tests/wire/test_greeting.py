"""Which hash a client presents at which attempt."""

import pytest

from splnode.errors import Code, RemoteWireError, SchemaError
from splnode.limits import DEFAULT_LIMITS
from splnode.wire.greeting import Greeting, nameless
from splnode.wire.handshake import HandshakeResponse, Match
from tests.wire.conftest import CALCULATOR, OTHER, calculator, handshake, protocol

OWN = CALCULATOR.md5
KEY = b"f" * 16
NEWER = protocol(calculator(doc="newer"))
EMPTY = protocol({"protocol": "Empty", "messages": {}})


def none(server=None, key=KEY):
    return HandshakeResponse(Match.NONE, server and server.text, key if server else None)


def greeting(own=CALCULATOR, remembered=None):
    return Greeting(own, remembered, DEFAULT_LIMITS)


@pytest.mark.parametrize(("own", "told"), [(CALCULATOR, NEWER), (EMPTY, OTHER)])
def test_the_hash_we_were_told_where_it_is_meant(own, told):
    client = greeting(own)
    assert client.request(1) == handshake(own.md5, own.md5)
    assert client.learn(none(told)) is None
    assert client.again(1)
    assert client.request(2) == handshake(own.md5, KEY, own.text)
    assert client.learn(HandshakeResponse(Match.BOTH)) == told
    assert (client.server, client.server_hash) == (told, KEY)


def test_our_own_hash_where_another_service_was_guessed():
    client = greeting()
    client.learn(none(OTHER))
    assert client.again(1)
    assert client.request(2) == handshake(OWN, OWN, CALCULATOR.text)
    client.learn(none(OTHER))
    assert client.again(2)
    assert client.request(3) == handshake(OWN, KEY, CALCULATOR.text)
    client.learn(none(OTHER))
    assert not client.again(3)
    assert client.refusal().code is Code.FAILED_PRECONDITION
    assert "speaks org.example.Other" in str(client.refusal())
    assert client.request(1) == handshake(OWN, OWN)  # over HTTP the next call begins anew


def test_there_is_no_third_attempt_with_the_same_hash():
    for answer in (none(NEWER), none()):
        client = greeting()
        client.learn(answer)
        assert client.again(1)
        client.learn(answer)
        assert not client.again(2)


def test_both_means_what_was_presented():
    assert greeting().learn(HandshakeResponse(Match.BOTH)) is CALCULATOR
    assert greeting(remembered=(KEY, OTHER)).learn(HandshakeResponse(Match.BOTH)) is OTHER
    assert greeting(remembered=(KEY, OTHER)).request(1) == handshake(OWN, KEY)
    # Some tell their protocol all the same; and a hash may be missing.
    assert greeting().learn(HandshakeResponse(Match.BOTH, NEWER.text)) == NEWER
    client = greeting()
    assert client.learn(HandshakeResponse(Match.CLIENT, CALCULATOR.text, KEY)) is CALCULATOR
    assert client.server_hash == KEY
    assert client.request(1) == handshake(OWN, KEY)


def test_what_a_server_may_not_say():
    with pytest.raises(RemoteWireError, match="CLIENT without its protocol"):
        greeting().learn(HandshakeResponse(Match.CLIENT, None, KEY))
    for match in Match:
        with pytest.raises(RemoteWireError, match="the server's protocol cannot be read"):
            greeting().learn(HandshakeResponse(match, "{", KEY))


@pytest.mark.parametrize(("service", "name"), [("com.acme.Shop", "com.acme.Shop"), ("Shop", "Shop"), ("", "Discovery")])
def test_who_asks_comes_with_a_protocol_of_no_messages(service, name):
    protocol = nameless(service)
    assert (protocol.name, dict(protocol.messages)) == (name, {})


def test_what_is_no_name_is_refused():
    with pytest.raises(SchemaError):
        nameless("com..Shop")
