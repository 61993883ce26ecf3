"""splnode.net.carrier: what both channels that block have, whatever they speak."""

import pytest

from splnode.endpoint import Endpoint
from splnode.net.blocking import BlockingChannel
from splnode.net.blocking_http import BlockingHttpChannel
from splnode.net.carrier import Carrier, NoLine
from splnode.wire.message import Contract
from tests.background import Peer, greet, hold
from tests.rpc.conftest import PROTOCOL

KINDS = [BlockingChannel, BlockingHttpChannel]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_made_without_a_connection(kind: type[Carrier]) -> None:
    channel = kind(Endpoint("tcp", "127.0.0.1", 1), Contract(PROTOCOL))
    assert not channel.is_open
    assert channel.server is None
    assert not channel.lock.locked()
    channel.close()  # as often as one likes
    channel.close()


@pytest.mark.parametrize("kind", KINDS)
def test_closing_ends_the_connection_and_the_next_call_may_dial(kind: type[Carrier]) -> None:
    with Peer(lambda connected: greet(connected) if kind is BlockingChannel else None, hold) as peer:
        channel = kind(peer.endpoint, Contract(PROTOCOL), connect_timeout=5)
        channel.connect()
        assert channel.is_open
        channel.close()
        assert not channel.is_open


def test_over_http_nothing_is_quicker_than_the_ordinary_way() -> None:
    channel = BlockingHttpChannel(Endpoint("tcp", "127.0.0.1", 1), Contract(PROTOCOL))
    assert isinstance(channel.line, NoLine)

    def slow() -> None:
        """The ordinary way."""

    assert channel.method(PROTOCOL.messages["add"], 5.0, slow) is slow
