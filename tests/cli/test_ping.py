import time
from pathlib import Path

import pytest

from splnode.cli.failure import NoEndpointError
from splnode.cli.ping import pinger
from splnode.cli.target import Target
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from tests.background import Peer, greet, hold
from tests.cli.conftest import Shell
from tests.cli.echo import serving


@pytest.mark.parametrize("place", [0, 1, 2], ids=["unix", "tcp", "http"])
def test_round_trips(shell: Shell, node: list[str], place: int) -> None:
    done = shell("ping", node[place], "-c", "3", "-i", "0.001")
    assert done.code == 0
    assert [row["endpoint"] for row in done.results] == [node[place]] * 3
    assert all(row["ms"] > 0 for row in done.results)


def test_where(shell: Shell, node: list[str], stock: str) -> None:
    assert shell("ping", to=node[0]).code == 0
    assert shell("ping", to=stock).code == 0
    done = shell("ping", node[0], to=node[0])
    assert (done.code, "given twice" in done.err) == (2, True)
    assert shell("ping", "unix:///none").code == 3


def at(endpoint: Endpoint, connect_timeout: float = 5.0, max_time: float = 5.0) -> Target:
    return Target([endpoint], max_time, connect_timeout, {})


def soon() -> float:
    return time.monotonic() + 5


def test_a_server_that_goes(tmp_path: Path) -> None:
    endpoint = Endpoint("unix", path=f"{tmp_path}/s")
    with serving([str(endpoint)]):
        found, ping, close = pinger(at(endpoint))
        assert found == endpoint
        ping(soon())
        ping(soon())
    with pytest.raises(CallError, match="UNAVAILABLE"):
        ping(soon())
    close()


def test_a_server_that_answers_no_ping() -> None:
    def script(connected: object) -> None:
        greet(connected)  # type: ignore[arg-type]  # a socket
        hold(connected)  # type: ignore[arg-type]  # a socket

    with Peer(script) as peer:
        _, ping, close = pinger(at(peer.endpoint, max_time=0.05))
        with pytest.raises(CallError, match=r"no answer to a ping within 0.05 s") as failed:
            ping(time.monotonic() + 0.05)
        assert failed.value.code is Code.DEADLINE_EXCEEDED
        close()


def test_a_peer_that_says_nothing() -> None:
    with Peer(hold) as peer, pytest.raises(NoEndpointError, match="no handshake in time"):
        pinger(at(peer.endpoint, 0.05))


def test_a_peer_that_is_no_avro() -> None:
    def chatty(connected: object) -> None:
        connected.sendall(b"220 mail.example.com ESMTP ready\r\n" * 10)  # type: ignore[attr-defined]  # a socket

    with Peer(chatty) as peer, pytest.raises(NoEndpointError, match="tcp://"):
        pinger(at(peer.endpoint))
