"""The worst day: killed and stopped peers, no descriptors, no disk, nobody who reads the log, every signal at once."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import remount, small_disk
from tests.hostile.victim import START, Victim, execute
from tests.hostile.watch import ROOT, dial, hello, netty_reply
from tests.wire.conftest import netty, string

SLEEPS = """
import time
def execute(headers, value):
    time.sleep(float(value))
    return 'slept'
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "sleeps.py").write_text(SLEEPS)
    return folder


def text(value: str) -> bytes:
    return b"\x04" + string(value)


def wait_for(what: str, victim: Victim) -> None:
    """Until the node has logged it."""
    until = time.monotonic() + START
    while what not in victim.log:
        assert time.monotonic() < until, f"{what!r} never came:\n{victim.log}"  # clock: the end of the wait
        time.sleep(0.02)  # clock: another process writes it


# -- peers that die, stop and go on

CLIENT = """
import asyncio, sys, splnode
from splnode.config import ChannelsConfig

PATIENT = ChannelsConfig(connect_timeout=30.0)

async def main():
    async with splnode.connect(sys.argv[1], "SPLExecuteService", timeout=1000.0, settings=PATIENT) as client:
        calls = [asyncio.create_task(client.execute({"module": "sleeps", "value": "1000"})) for _ in range(8)]
        await client.listAvailableModules()
        print("sent", flush=True)
        await asyncio.gather(*calls)

asyncio.run(main())
"""


def client(victim: Victim) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, victim.tcp],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "sent\n"
    process.stdout.close()
    return process


@pytest.mark.timeout(120)  # seven processes start, maybe beside much else
def test_the_calls_of_a_killed_client_are_cancelled(tmp_path: Path, modules: Path) -> None:
    """All the processes that this module may have are theirs; the next caller gets one at once.

    So it is with a splnode client. Of any other the end of the stream says only that it will ask no more. Its calls
    take for ever, and their deadlines pass only after this test has failed.
    """
    config = "drain_seconds = 0.0\n[modules]\nmax_workers = 8\n[calls]\ntimeout = 1000.0\n"
    with Victim(tmp_path, "--modules", str(modules), config=config) as victim:
        killed = client(victim)
        with hello(victim.tcp, timeout=60) as sock:
            sock.sendall(execute("sleeps", {}, text("0")))
            killed.send_signal(signal.SIGKILL)
            killed.wait()
            answer = netty_reply(sock)[1]
            assert b"slept" in answer, f"{answer!r}\n{victim.log}"


def test_a_client_that_is_stopped_harms_nobody_and_may_go_on(tmp_path: Path, modules: Path) -> None:
    with Victim(tmp_path, "--modules", str(modules)) as victim:
        stopped = client(victim)
        stopped.send_signal(signal.SIGSTOP)
        with victim.attacked("a stopped client"):
            for _ in range(20):
                victim.serves()
        stopped.send_signal(signal.SIGCONT)
        victim.serves()
        stopped.kill()
        stopped.wait()


def test_a_node_that_was_stopped_goes_on(tmp_path: Path) -> None:
    with Victim(tmp_path) as victim, hello(victim.tcp) as sock:
        victim.process.send_signal(signal.SIGSTOP)
        sock.sendall(execute("spl/void/noop", {}, text("patience")))
        waiting = [dial(victim.tcp) for _ in range(50)]
        victim.process.send_signal(signal.SIGCONT)
        assert b"patience" in netty_reply(sock)[1]
        for each in waiting:
            each.close()
        victim.serves()


# -- descriptors


def test_no_descriptors_left(tmp_path: Path) -> None:
    with Victim(tmp_path, shell="ulimit -n 64;") as victim:
        socks = []
        with hello(victim.tcp) as sock:
            for _ in range(200):
                with contextlib.suppress(OSError):
                    socks.append(dial(victim.tcp, 2))
            sock.sendall(netty(1, b"\0\0"))
            netty_reply(sock)  # it has looked at the others by now, too
            before = victim.cpu()
            time.sleep(1.0)  # clock: whether it spins shows only in time
            print(f"\n200 connections, 64 descriptors: {victim.descriptors} used, {victim.cpu() - before:.2f} s of CPU")
            assert victim.cpu() - before < 0.5
            for call in ("spl/data/list", "gp/fs/list", "spl/void/noop"):  # the store and the files have theirs
                sock.sendall(execute(call))
                assert netty_reply(sock)[1].startswith(b"\0\0")
        assert "open_files" in victim.log
        for each in socks:
            each.close()
        victim.settles(20)
        victim.stays_well()


# -- nobody reads the log


def test_a_log_that_nobody_reads_holds_up_nobody(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with Victim(tmp_path, stderr=writer) as victim:
        os.close(writer)
        for _ in range(500):
            with dial(victim.tcp) as sock:
                sock.sendall(b"\xff" * 20)
                assert sock.recv(1) == b""
        victim.serves()
        victim.process.send_signal(signal.SIGTERM)
        assert victim.process.wait(START) == 0
    os.close(reader)


def test_a_log_whose_reader_has_gone(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with Victim(tmp_path, stderr=writer) as victim:
        os.close(writer)
        os.close(reader)
        with dial(victim.tcp) as sock:
            sock.sendall(b"\xff" * 20)
            assert sock.recv(1) == b""
        with hello(victim.tcp) as sock:
            sock.sendall(execute("spl/console/log", {}, text("to nobody")))
            assert b"to nobody" in netty_reply(sock)[1]
        victim.process.send_signal(signal.SIGTERM)
        assert victim.process.wait(START) == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed(tmp_path: Path, closed: str) -> None:
    victim = Victim(tmp_path, shell=f"exec {closed};")
    victim.launch()
    until = time.monotonic() + START
    while not (tmp_path / "s").exists():
        assert victim.process.poll() is None, victim.log
        assert time.monotonic() < until  # clock: the end of the wait
        time.sleep(0.02)  # clock: with nothing to read from it there is no other sign
    try:
        for _ in range(3):
            with hello(victim.unix) as sock:
                sock.sendall(execute("spl/console/log", {}, text("hello")) + execute("spl/data/list"))
                assert b"hello" in netty_reply(sock)[1]
                assert netty_reply(sock)[1].startswith(b"\0\0")
        victim.process.send_signal(signal.SIGTERM)
        assert victim.process.wait(START) == 0, victim.log
    finally:
        victim.process.kill()
        victim.process.wait()
        assert victim.process.stdout is not None
        victim.process.stdout.close()


# -- disks


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "2m") as folder:
        yield folder


def write(sock: socket.socket, key: str, size: int) -> bytes:
    sock.sendall(execute("spl/data/write", {"topic": "t", "primaryKey": key}, text("x" * size)))
    return netty_reply(sock)[1]


def test_a_disk_that_is_full_and_is_not_any_more(tmp_path: Path, tmpfs: Path) -> None:
    with Victim(tmp_path, "--data", str(tmpfs)) as victim, hello(victim.tcp) as sock:
        kept = 0
        while b"STORAGE_FULL" not in (answer := write(sock, f"k{kept}", 50_000)):
            assert answer.startswith(b"\0\0")
            kept += 1
        for _ in range(20):
            assert b"STORAGE_FULL" in write(sock, "more", 50_000)
        victim.serves()
        sock.sendall(execute("spl/data/read", {"topic": "t", "primaryKey": f"k{kept - 1}"}))
        assert b"xxxx" in netty_reply(sock)[1]
        sock.sendall(execute("gp/fs/write", {"path": "f"}, text("x" * 500_000)))
        assert b"No space left" in netty_reply(sock)[1]
        assert victim.log.count("STORAGE_FULL") == 1  # a warning a change, not one a call
        remount(tmpfs, "size=8m")
        assert write(sock, "more", 50_000).startswith(b"\0\0")
        victim.stays_well()


def test_a_disk_that_cannot_be_written(tmp_path: Path, tmpfs: Path) -> None:
    remount(tmpfs, "ro")
    victim = Victim(tmp_path, "--data", str(tmpfs))
    victim.launch()
    assert victim.process.wait(START) == 2
    assert victim.process.stdout is not None
    victim.process.stdout.close()
    assert "Read-only file system" in victim.log
    assert "Traceback" not in victim.log


# -- signals


def test_sigterm_while_200_calls_run_answers_all(tmp_path: Path, modules: Path) -> None:
    config = "drain_seconds = 0.2\n[modules]\nmax_workers = 16\n"
    with Victim(tmp_path, "--modules", str(modules), config=config) as victim:
        with hello(victim.tcp, timeout=60) as sock:
            sock.sendall(execute("sleeps", {}, text("0.05")) * 200 + netty(9, b"\0\0"))
            while netty_reply(sock)[0] != 9:
                pass
            victim.process.send_signal(signal.SIGTERM)
            answers = []
            with contextlib.suppress(EOFError, ConnectionError):
                while True:
                    answers.append(netty_reply(sock)[1])
        assert victim.process.wait(60) == 0
    begun = [answer for answer in answers if b"slept" in answer]
    moved_on = [answer for answer in answers if b"UNAVAILABLE" in answer and b"spl-started\x020" in answer]
    assert len(begun) + len(moved_on) == len(answers) >= 180  # the others came before the ping's answer
    assert len(moved_on) <= 200 - 192  # what one peer has beyond its share has not begun


def test_a_second_sigterm_ends_it_at_once(tmp_path: Path, modules: Path) -> None:
    with Victim(tmp_path, "--modules", str(modules), config="drain_seconds = 1000.0") as victim:
        with hello(victim.tcp) as sock:
            sock.sendall(execute("sleeps", {}, text("1000")))
            victim.process.send_signal(signal.SIGTERM)
            wait_for('"stopping"', victim)
            victim.process.send_signal(signal.SIGTERM)
            assert victim.process.wait(START) == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    with Victim(tmp_path) as victim:
        victim.serves()
        victim.process.send_signal(number)
        assert victim.process.wait(START) == 0
        assert not (tmp_path / "s").exists()
        assert "Traceback" not in victim.log


def test_sighup_with_a_config_that_is_broken(tmp_path: Path) -> None:
    with Victim(tmp_path) as victim:
        for broken in (
            "[nod]\n",
            "not toml",
            '[node]\nlisten = ["x://"]\n',
            "[calls]\ntimeout = -1\n",
            "\0",
            "[" * 100_000,
        ):
            victim.config.write_text(broken)
            told = victim.log.count("nothing was reloaded")
            victim.process.send_signal(signal.SIGHUP)
            until = time.monotonic() + START
            while victim.log.count("nothing was reloaded") == told and time.monotonic() < until:
                time.sleep(0.02)  # clock: another process writes it
            assert victim.log.count("nothing was reloaded") == told + 1, broken[:50]
            victim.serves()
        victim.config.unlink()
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGPIPE):
            victim.process.send_signal(number)
        victim.stays_well()


def test_signals_in_a_storm(tmp_path: Path) -> None:
    with Victim(tmp_path) as victim:
        for _ in range(200):
            victim.process.send_signal(signal.SIGHUP)
            victim.process.send_signal(signal.SIGPIPE)
            victim.process.send_signal(signal.SIGCHLD)
        victim.stays_well()


# -- two that want the same


def race(directory: Path, one: list[str], other: list[str]) -> tuple[list[int], list[str]]:
    """Starts two nodes at one instant: the exit codes of those that lost, and what they said."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "splnode", "serve", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "HOME": str(directory), "PYTHONPATH": str(ROOT)},
        )
        for options in (one, other)
    ]  # fmt: skip
    try:
        said = []
        for process in processes:
            assert process.stdout is not None
            said.append(process.stdout.readline())
        losers = [process for process, line in zip(processes, said, strict=True) if not line]
        assert len(losers) == 1, said
        winner = json.loads(next(line for line in said if line))
        hello(next(each for each in winner["listen"] if each.startswith("unix"))).close()
        assert losers[0].stderr is not None
        return [losers[0].wait(START)], [losers[0].stderr.read()]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("stale", [False, True])
def test_two_nodes_that_start_on_one_socket(tmp_path: Path, stale: bool) -> None:
    options = []
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(f'[node]\ndirectory = "{name}"\ndrain_seconds = 0.0\n')
        options.append(["--config", str(tmp_path / f"{name}.toml"), "--listen", f"unix://{tmp_path}/s"])
    for _ in range(5):
        if stale:
            with socket.socket(socket.AF_UNIX) as dead:
                (tmp_path / "s").unlink(missing_ok=True)
                dead.bind(str(tmp_path / "s"))
        codes, said = race(tmp_path, *options)
        assert codes == [2]
        assert "a node listens there already" in said[0], said


def test_two_nodes_that_start_on_one_data_directory(tmp_path: Path) -> None:
    options = []
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(f'[node]\ndirectory = "{name}"\ndrain_seconds = 0.0\n')
        options.append([
            "--config", str(tmp_path / f"{name}.toml"),
            "--listen", f"unix://{tmp_path}/{name}.sock", "--data", str(tmp_path / "data"),
        ])  # fmt: skip
    for _ in range(3):
        codes, said = race(tmp_path, *options)
        assert codes == [2]
        assert "is in use by" in said[0], said


def test_a_socket_file_that_is_removed_under_a_running_node(tmp_path: Path) -> None:
    with Victim(tmp_path) as victim:
        (tmp_path / "s").unlink()
        victim.serves()  # over TCP
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(tmp_path / "s"))
            victim.process.send_signal(signal.SIGTERM)
            assert victim.process.wait(START) == 0
            assert (tmp_path / "s").exists()  # it is somebody else's now
        assert "Traceback" not in victim.log


# -- handlers

SLOW_SERVICE = """
import asyncio, signal, sys, time, splnode
from splnode.rpc import server

class Service:
    def echo(self, text: str) -> str:
        time.sleep(float(text))
        return text

async def main():
    async with splnode.listen(["tcp://127.0.0.1:0"], {sys.argv[1]: Service()}) as listening:
        print(listening.endpoints[0], flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_handler_that_blocks_the_loop_blocks_it_only_so_long(tmp_path: Path) -> None:
    """Nothing can be done for the others meanwhile; that they are all served behind it is what is shown."""
    avpr = tmp_path / "Slow.avpr"
    avpr.write_text(
        '{"protocol": "Slow", "messages": {"echo": {"request": [{"name": "text", "type": "string"}],'
        ' "response": "string"}}}'
    )
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_SERVICE, str(avpr)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        where = process.stdout.readline().strip()
        import asyncio

        import splnode

        async def both() -> list[object]:
            async with splnode.connect(where, avpr) as one, splnode.connect(where, avpr) as other:
                slow = asyncio.create_task(one.echo(text="1.5"))
                await asyncio.sleep(0)
                return await asyncio.gather(slow, *(other.echo(text="0") for _ in range(50)))

        assert asyncio.run(both()) == ["1.5", *["0"] * 50]
    finally:
        process.kill()
        process.communicate()


def test_threads_do_not_grow(tmp_path: Path) -> None:
    with Victim(tmp_path) as victim:

        def many() -> None:
            with hello(victim.tcp) as sock:
                for _ in range(100):
                    sock.sendall(execute("spl/data/list") + execute("gp/fs/list"))
                    netty_reply(sock)
                    netty_reply(sock)

        threads = [threading.Thread(target=many) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert victim.threads < 60
        victim.stays_well()
