import os
import signal
import socket
import sys
from pathlib import Path

import msgspec
import pytest

from splnode.config import Config, parse, to_builtins
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.workers import process
from splnode.workers.process import WorkerProcess


def settings(folder: Path) -> str:
    config = parse(f'[node]\nid = "n"\ndirectory = "{folder}"\ndrain_seconds = 0.0\n')
    return msgspec.json.encode(to_builtins(config)).decode()


async def test_lives_until_it_is_told_to_stop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        endpoint = Endpoint("tcp", "127.0.0.1", sock.getsockname()[1])
        worker = await WorkerProcess.start(1, settings(tmp_path), [(endpoint, [sock])], [])
    assert worker.pid != os.getpid()
    socket.create_connection((endpoint.host, endpoint.port), 5).close()
    await worker.reload(settings(tmp_path))
    await worker.stop()
    assert await worker.ended() == "exit status 0"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((endpoint.host, endpoint.port), 5)


async def test_says_how_it_was_killed(tmp_path: Path) -> None:
    worker = await WorkerProcess.start(1, settings(tmp_path), [], [])
    worker.kill()
    assert await worker.ended() == "signal SIGKILL"
    worker.kill()
    await worker.stop()


async def test_one_that_cannot_serve_says_why(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, pytest.raises(ConfigError, match="worker 7: the protocol text is not JSON"):
        await WorkerProcess.start(7, settings(tmp_path), [], [("no protocol", theirs)])
    with pytest.raises(ConfigError, match="worker 8: internal error; the node's log has it"):
        await WorkerProcess.start(8, "{", [], [])


async def test_one_that_ends_before_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConfigError, match="worker 9 ended before it served: exit status 1"):
        await WorkerProcess.start(9, "{}", [], [])
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(ConfigError, match="worker 9 cannot be started: No such file"):
        await WorkerProcess.start(9, "{}", [], [])


def test_the_service_manager_talks_to_the_supervisor_alone() -> None:
    here = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1", "LISTEN_FDS": "1", "HOME": "/h", "PYTHONPATH": "/p"}
    given = process._environment(here)
    assert set(given) == {"HOME", "PYTHONPATH"}
    assert given["PYTHONPATH"].endswith(os.pathsep + "/p")


@pytest.mark.parametrize(
    ("status", "how"), [(0, "exit status 0"), (-signal.SIGSEGV, "signal SIGSEGV"), (-63, "signal 63")]
)
def test_how(status: int, how: str) -> None:
    assert process._how(status) == how


def test_defaults_pass_as_they_are() -> None:
    from splnode.config import from_builtins

    assert from_builtins(msgspec.json.decode(msgspec.json.encode(to_builtins(Config())))) == Config()
