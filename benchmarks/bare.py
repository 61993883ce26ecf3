"""A client that is a session on a blocking socket, for benchmarks that need a peer with bad manners."""

import socket
import sys
from pathlib import Path

from splnode.avro.protocol import Protocol
from splnode.wire.client import ClientSession
from splnode.wire.events import Ready
from splnode.wire.message import Contract

PROTOCOL = Protocol.load(Path(__file__).parent / "peers" / "bench.avpr")
PEER = (sys.executable, "-m", "benchmarks.peers.splnode_rpc")
"""The server and the well-behaved client."""

Address = tuple[str, int]


def address(endpoint: str) -> Address:
    """Host and port of a `tcp://` endpoint."""
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    return host, int(port)


def dial(where: Address, source: str = "127.0.0.1") -> tuple[ClientSession, socket.socket]:
    """Connects and sends the handshake; the answer is not waited for. The caller closes the socket."""
    session = ClientSession(Contract(PROTOCOL))
    session.start()
    connection = socket.create_connection(where, 10, (source, 0))
    connection.sendall(b"".join(session.data_to_send()))
    return session, connection


def greet(session: ClientSession, connection: socket.socket) -> None:
    """Reads until the handshake is done. ConnectionError if the server closes instead."""
    while True:
        data = connection.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection during the handshake")
        if any(isinstance(event, Ready) for event in session.receive_data(data)):
            return
        connection.sendall(b"".join(session.data_to_send()))
