"""Who a client is by its handshake, and what it is answered."""

import pytest

from splnode.errors import RemoteWireError
from splnode.limits import DEFAULT_LIMITS
from splnode.wire.directory import ClientProtocols, Directory
from splnode.wire.handshake import BOTH, HandshakeRequest, Match, read_response
from splnode.wire.message import Contract
from splnode.wire.welcome import Welcome
from tests.wire.conftest import CALCULATOR, OTHER, calculator, protocol

NEWER = protocol(calculator(doc="newer"))
STRANGE = b"?" * 16


def a_welcome() -> Welcome:
    return Welcome(Directory([Contract(CALCULATOR), Contract(OTHER)]), ClientProtocols())


def answered(welcome: Welcome, request: HandshakeRequest) -> bytes:
    client = welcome.client_of(request)
    return welcome.accept(request, client, welcome.contract_for(request, client, ""))


def test_one_of_our_own_needs_no_text() -> None:
    welcome = a_welcome()
    assert answered(welcome, HandshakeRequest(CALCULATOR.md5, None, CALCULATOR.md5)) == BOTH
    assert welcome.client == CALCULATOR
    assert welcome.client_hash == CALCULATOR.md5


def test_an_unknown_one_is_asked_for_its_text_then_known() -> None:
    welcome = a_welcome()
    none = read_response(answered(welcome, HandshakeRequest(NEWER.md5, None, STRANGE)), DEFAULT_LIMITS)[0]
    assert (none.match, none.server_protocol) == (Match.NONE, CALCULATOR.text)
    assert welcome.client is None
    client = read_response(answered(welcome, HandshakeRequest(NEWER.md5, NEWER.text, STRANGE)), DEFAULT_LIMITS)[0]
    assert client.match is Match.CLIENT
    assert welcome.client == NEWER
    assert answered(welcome, HandshakeRequest(NEWER.md5, None, CALCULATOR.md5)) == BOTH


def test_a_lie_about_the_hash_stays_on_its_connection() -> None:
    directory, clients = Directory([Contract(CALCULATOR)]), ClientProtocols()
    liar, other = Welcome(directory, clients), Welcome(directory, clients)
    assert answered(liar, HandshakeRequest(STRANGE, NEWER.text, CALCULATOR.md5)) == BOTH
    assert liar.client_of(HandshakeRequest(STRANGE, None, CALCULATOR.md5)) == NEWER
    assert other.client_of(HandshakeRequest(STRANGE, None, CALCULATOR.md5)) is None


def test_a_text_that_is_new_can_be_read_before() -> None:
    welcome = a_welcome()
    assert welcome.reading(HandshakeRequest(CALCULATOR.md5, CALCULATOR.text, STRANGE)) is None
    assert welcome.reading(HandshakeRequest(STRANGE, None, STRANGE)) is None
    request = HandshakeRequest(NEWER.md5, NEWER.text, STRANGE)
    read = welcome.reading(request)
    assert read is not None
    read()
    assert welcome.reading(request) is None
    assert welcome.client_of(request) == NEWER


def test_what_is_no_protocol_is_said_when_it_is_asked_for() -> None:
    welcome = a_welcome()
    request = HandshakeRequest(STRANGE, "{}", STRANGE)
    read = welcome.reading(request)
    assert read is not None
    read()
    with pytest.raises(RemoteWireError):
        welcome.client_of(request)
