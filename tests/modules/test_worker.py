import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splnode.modules.protocol import worker_protocol
from splnode.wire.client import ClientSession
from splnode.wire.events import Event, Response
from splnode.wire.message import Contract
from tests.modules.conftest import Put

ROOT = Path(__file__).parents[2]


class Peer:
    """A client session on a plain socket to a worker's process."""

    def __init__(self, session: bool = False) -> None:
        self.sock, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            command = [sys.executable, "-P", "-m", "splnode.modules.worker", str(descriptor), str(1 << 30)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(
                command, pass_fds=[descriptor], env=environment, cwd="/", start_new_session=session
            )
        self.session = ClientSession(Contract(worker_protocol()), framing="netty")
        self.session.start()
        self.sock.settimeout(20)

    def flush(self) -> None:
        self.sock.sendall(b"".join(self.session.data_to_send()))

    def receive(self) -> list[Event]:
        self.flush()
        data = self.sock.recv(1 << 20)
        assert data, "the worker closed the connection"
        return self.session.receive_data(data)

    def call(self, message: str, **params: Any) -> Any:
        serial = self.session.call(message, params)
        while True:
            for event in self.receive():
                if isinstance(event, Response) and event.serial == serial:
                    if event.error is not None:
                        raise event.error
                    return event.value


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.sock.close()
    try:
        assert peer.process.wait(20) == 0
    finally:
        peer.process.kill()
        peer.process.wait()


def test_it_ends_when_its_node_does(peer: Peer) -> None:
    """The fixture closes the socket and waits."""


def test_what_the_module_has_started_ends_with_the_node(put: Put, tmp_path: Path) -> None:
    peer = Peer(session=True)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    child = f"    if os.fork() == 0:\n        pipe = open({str(pipe)!r}, 'w')\n        time.sleep(1000)\n"
    put("m.py", f"import os, time\ndef execute(headers, value):\n{child}    return 'forked'\n")
    peer.call("load", uri="m", path=str(tmp_path / "modules/m.py"), contract=None)
    peer.call("run", headers={}, value=None)
    with pipe.open() as reader:  # the child has opened it
        peer.sock.close()
        assert reader.read() == ""  # and has gone
    assert peer.process.wait(20) == -signal.SIGKILL


def test_it_ends_in_the_middle_of_a_call(peer: Peer, put: Put, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    put("m.py", f"def execute(headers, value):\n    open({str(pipe)!r}, 'w').close()\n    while True: pass\n")
    peer.call("load", uri="m", path=str(tmp_path / "modules/m.py"), contract=None)
    peer.session.call("run", {"headers": {}, "value": None})
    peer.flush()
    pipe.read_bytes()


def test_it_answers_pings_while_the_module_runs(peer: Peer, put: Put, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = put("m.py", f"def execute(headers, value):\n    return open({str(pipe)!r}).read()\n")
    peer.call("load", uri="m", path=str(path), contract=None)
    serial = peer.session.call("run", {"headers": {}, "value": None})
    peer.flush()
    with pipe.open("w") as file:
        peer.session.ping()
        peer.receive()  # the pong: the module cannot have answered yet
        file.write("done")
    answers: list[Event] = []
    while not answers:
        answers = [event for event in peer.receive() if isinstance(event, Response)]
    assert [(each.serial, each.value["value"]) for each in answers] == [(serial, "done")]  # type: ignore[union-attr]


def test_its_limits(peer: Peer, put: Put) -> None:
    path = put(
        "m.py",
        """
        import resource, sys

        def execute(headers, value):
            limits = [resource.getrlimit(each)[0] for each in (resource.RLIMIT_CORE, resource.RLIMIT_DATA)]
            large = [name for name in ("asyncio", "sqlite3", "structlog", "splnode.rpc") if name in sys.modules]
            return f"{limits} {sys.dont_write_bytecode} {large}"
        """,
    )
    peer.call("load", uri="m", path=str(path), contract=None)
    assert peer.call("run", headers={}, value=None)["value"] == f"[0, {1 << 30}] True []"
