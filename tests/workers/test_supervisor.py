"""Nodes of several processes, as processes: what their callers see, whoever is killed."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import splnode
from splnode.errors import CallError, Code, ConfigError
from splnode.net.bind import bind_tcp
from splnode.rpc.client import Client
from tests.daemon import Daemon

pytestmark = pytest.mark.timeout(120)

MANY = 12
"""Connections that do not all come to one worker: by chance they would once in two thousand runs."""


@contextlib.asynccontextmanager
async def clients(daemon: Daemon, service: str, count: int = MANY) -> AsyncIterator[list[Client]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(splnode.connect(daemon.tcp, service, timeout=20)) for _ in range(count)]


def logged(daemon: Daemon, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in daemon.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def until_logged(daemon: Daemon, event: str, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        while len(found := logged(daemon, event)) < count:
            await asyncio.sleep(0.01)  # clock: another process writes the file, and nothing tells when
    return found


def workers(daemon: Daemon) -> list[int]:
    return [line["process"] for line in logged(daemon, "worker serves")]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_gone(pids: list[int]) -> None:
    async with asyncio.timeout(20):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.01)  # clock: nothing tells of the end of another's child


async def waiting(health: Client, seconds: float = 15.0) -> asyncio.Task[Any]:
    """A call that a worker and its supervisor have running."""
    state = await health.check(service="")
    return asyncio.create_task(
        health.call("watch", {"service": "", "revision": state["revision"], "timeoutMs": int(seconds * 1000)})
    )


async def test_is_one_node_on_every_endpoint(tmp_path: Path) -> None:
    async with Daemon(tmp_path, "--workers", "3") as daemon:
        assert len(set(workers(daemon))) == 3
        for endpoint in (daemon.tcp, daemon.unix):
            async with splnode.connect(endpoint, "splnode.Health") as health:
                assert (await health.check(service=""))["status"] == "SERVING"
            async with splnode.connect(endpoint, "SPLExecuteService") as execute:
                request: dict[str, Any] = {"module": "spl/void/noop", "headers": {}, "value": endpoint, "schema": None}
                assert (await execute.execute(request))["value"] == endpoint
        async with clients(daemon, "splnode.Health") as healths:
            states = [await health.list() for health in healths]
            assert all(state == states[0] for state in states)  # the revisions too
        port = splnode.Endpoint.parse(daemon.tcp)
        with pytest.raises(ConfigError, match="the port is taken"):
            bind_tcp(port, [(socket.AF_INET, (port.host, port.port))])
        other = Daemon(tmp_path / "other", "--workers", "2", "--listen", daemon.tcp)
        with pytest.raises(AssertionError, match="the port is taken"):
            await other.start()
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
        await until_gone(workers(daemon))
        assert not (tmp_path / "s").exists()


async def test_records_are_the_nodes_whoever_is_asked(tmp_path: Path) -> None:
    async with Daemon(tmp_path, "--workers", "3") as daemon, clients(daemon, "SPLDataService") as data:
        for number in range(60):
            written = await data[number % MANY].write(topic="t", primaryKey="k", data=str(number))
            assert written["version"] == number + 1
            page = await data[(number + 5) % MANY].read(topic="t", primaryKey="k")
            assert page["records"][0]["data"] == str(number)  # what was answered is seen by all
        schema = '{"type": "record", "name": "a.User", "fields": [{"name": "id", "type": "long"}]}'
        await data[0].registerSchema(name="User", text=schema)
        assert [await each.listSchemas() for each in data] == [["User"]] * MANY
        with pytest.raises(splnode.DeclaredError, match="SCHEMA_CONFLICT"):
            await data[3].registerSchema(name="User", text='"long"')
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(
                    data[number % MANY].call("write", {"topic": "many", "primaryKey": f"k{number % 7}", "data": "x"})
                )
        page = await data[1].read(topic="many", history=True, limit=1000)
        assert page["totalCount"] == 200
        for key in range(7):
            versions = [r["version"] for r in page["records"] if r["primaryKey"] == f"k{key}"]
            assert versions == list(range(1, len(versions) + 1))


async def test_a_worker_that_is_killed_fails_its_calls_and_comes_back(tmp_path: Path) -> None:
    async with Daemon(tmp_path, "--workers", "2") as daemon, clients(daemon, "splnode.Health") as healths:
        calls = [await waiting(health) for health in healths]
        victim = workers(daemon)[0]
        os.kill(victim, signal.SIGKILL)
        await until_logged(daemon, "worker serves", 3)
        (ended,) = logged(daemon, "worker ended")
        assert (ended["worker"], ended["how"]) in [(n, f"process {victim}: signal SIGKILL") for n in (1, 2)]
        # Calls of a connection to it have failed; all others still run, and all clients can call again.
        failed = [call for call in calls if call.done()]
        assert 0 < len(failed) < MANY
        for call in failed:
            error = call.exception()
            assert isinstance(error, CallError) and error.code is Code.UNAVAILABLE
        for health in healths:
            assert (await health.check(service=""))["status"] == "SERVING"
        for call in set(calls) - set(failed):
            assert not call.done()
            call.cancel()
        async with clients(daemon, "splnode.Health") as fresh:
            assert {(await health.check(service=""))["status"] for health in fresh} == {"SERVING"}


async def test_answered_writes_outlive_killed_workers_and_a_killed_supervisor(tmp_path: Path) -> None:
    answered: set[str] = set()

    async def write(data: Client, name: str) -> None:
        for number in range(100_000):
            try:
                await data.write(topic="t", primaryKey=f"{name}-{number}", data="x")
            except CallError:
                return
            answered.add(f"{name}-{number}")

    async with Daemon(tmp_path, "--workers", "2") as daemon:
        async with clients(daemon, "SPLDataService", 6) as data:
            writing = [asyncio.create_task(write(each, f"w{number}")) for number, each in enumerate(data)]
            while len(answered) < 50:
                await asyncio.sleep(0)
            os.kill(workers(daemon)[0], signal.SIGKILL)
            await until_logged(daemon, "worker ended", 1)
            before = len(answered)
            while len(answered) < before + 50 and not all(task.done() for task in writing):
                await asyncio.sleep(0)
            crew = workers(daemon)
            await daemon.kill()
            await until_gone(crew)  # none stays behind
            async with asyncio.timeout(20):
                await asyncio.gather(*writing)
        await daemon.start()
        async with splnode.connect(daemon.unix, "SPLDataService") as data_again:
            kept: set[str] = set()
            offset: int | None = 0
            while offset is not None:
                page = await data_again.read(topic="t", limit=1000, offset=offset)
                kept |= {record["primaryKey"] for record in page["records"]}
                offset = page["nextOffset"]
        assert answered <= kept


async def test_sigterm_lets_calls_end_and_takes_no_new_ones(tmp_path: Path) -> None:
    slow = tmp_path / "modules" / "a" / "b" / "slow.py"
    slow.parent.mkdir(parents=True)
    slow.write_text("import time\ndef execute(headers, value):\n    time.sleep(1.0)\n    return value\n")
    async with Daemon(tmp_path, "--workers", "2", "--modules", str(tmp_path / "modules")) as daemon:
        async with clients(daemon, "SPLExecuteService", 6) as executes:
            request: dict[str, Any] = {"module": "a/b/slow", "headers": {}, "value": "done", "schema": None}
            calls = [asyncio.create_task(each.call("execute", {"request": request})) for each in executes]
            await until_busy(daemon)
            daemon.send(signal.SIGTERM)
            done: list[Any] = await asyncio.gather(*calls)
            assert [answer["value"] for answer in done] == ["done"] * 6
            assert await daemon.ended() == 0
            await until_gone(workers(daemon))
            with pytest.raises(CallError) as caught:
                await executes[0].execute(request)
            assert caught.value.code is Code.UNAVAILABLE
        assert not logged(daemon, "worker ended")
        assert [line["event"] for line in logged(daemon, "stopped")] == ["stopped"]


async def until_busy(daemon: Daemon) -> None:
    """Until the modules' calls have come to the supervisor."""
    async with asyncio.timeout(20):
        while len(list(Path(f"/proc/{daemon.pid}/task/{daemon.pid}").joinpath("children").read_text().split())) < 4:
            await asyncio.sleep(0.01)  # clock: nothing tells of another's children


async def test_a_second_sigterm_ends_all_at_once(tmp_path: Path) -> None:
    async with Daemon(tmp_path, "--workers", "2", config="drain_seconds = 60.0") as daemon:
        daemon.send(signal.SIGTERM)
        await until_logged(daemon, "stopping", 1)
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == -signal.SIGTERM
        await until_gone(workers(daemon))


async def test_signals_to_a_worker_are_its_supervisors_business(tmp_path: Path) -> None:
    async with Daemon(tmp_path, "--workers", "2") as daemon, clients(daemon, "splnode.Health") as healths:
        for pid in workers(daemon):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(pid, number)
        for health in healths:
            assert (await health.check(service=""))["status"] == "SERVING"
        assert not logged(daemon, "worker ended")


async def test_sighup_reaches_every_worker(tmp_path: Path) -> None:
    async with Daemon(tmp_path, "--workers", "2") as daemon:
        (tmp_path / "test.toml").write_text(
            '[node]\ndirectory = "state"\ndrain_seconds = 0.0\nworkers = 2\n[admission]\nrunning = 16\nqueued = 0\n'
        )
        daemon.send(signal.SIGHUP)
        await until_logged(daemon, "workers reloaded", 1)
        changed = [line["key"] for line in logged(daemon, "setting changed")]
        assert sorted(changed) == ["admission.queued", "admission.running"]


async def test_what_cannot_be_served_is_said_once(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "--workers", "2", "--listen", "tcp://0.0.0.0:0")
    with pytest.raises(AssertionError, match="--insecure"):
        await daemon.start()


async def test_the_service_manager_hears_when_all_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        async with Daemon(tmp_path, "--workers", "2") as daemon:
            said = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    said.append(manager.recv(100).decode())
            assert said == ["STATUS=1 of 2 workers serve", "STATUS=2 of 2 workers serve", "READY=1"]
            daemon.send(signal.SIGTERM)
            assert await daemon.ended() == 0
            assert manager.recv(100) == b"STOPPING=1"


async def scrape(daemon: Daemon) -> dict[tuple[str, ...], float]:
    """What a GET of /metrics gives, by name and labels' values."""
    endpoint = splnode.Endpoint.parse(daemon.tcp)
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 200 "), head
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


async def test_whoever_is_asked_gives_the_metrics_of_all(tmp_path: Path) -> None:
    calls = ("splnode_calls_total", "SPLDataService", "listTopics", "OK")
    async with Daemon(tmp_path, "--workers", "2") as daemon, clients(daemon, "SPLDataService") as data:
        for each in data:
            await each.listTopics()
        for _ in range(4):
            assert (await scrape(daemon))[calls] == MANY
        found = await scrape(daemon)
        assert found["splnode_call_seconds_count", "SPLDataService", "listTopics"] == MANY
        assert found["splnode_connections",] == MANY + 1
        assert found["splnode_workers",] == 2
        for process in ("supervisor", "worker 1", "worker 2"):
            assert found["process_resident_memory_bytes", process] > 1e6
        os.kill(workers(daemon)[0], signal.SIGKILL)
        await until_logged(daemon, "worker serves", 3)
        found = await scrape(daemon)
        assert found[calls] == MANY  # nothing becomes less
        assert (found["splnode_workers",], found["splnode_workers_ended_total",]) == (2, 1)
        async with splnode.connect(daemon.unix, "splnode.Metrics") as metrics:
            assert 'process="worker 2"' in await metrics.text()


async def test_connections_of_a_unix_socket_are_shared_out(tmp_path: Path) -> None:
    def open_files() -> list[int]:
        return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in workers(daemon)]

    async with Daemon(tmp_path, "--workers", "3") as daemon, contextlib.AsyncExitStack() as stack:
        before = open_files()
        for _ in range(9):
            client = await stack.enter_async_context(splnode.connect(daemon.unix, "splnode.Health"))
            assert (await client.check(service=""))["status"] == "SERVING"
        assert [now - then for now, then in zip(open_files(), before, strict=True)] == [3, 3, 3]


async def test_a_worker_that_hangs_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with Daemon(tmp_path, "--workers", "2", config="drain_seconds = 0.0\nstop_seconds = 0.1") as daemon:
        hanging = workers(daemon)[0]
        os.kill(hanging, signal.SIGSTOP)
        (line,) = await until_logged(daemon, "worker does not answer", 1)
        assert line["process"] == hanging
        for _ in range(4):  # new connections are handed to the other
            async with splnode.connect(daemon.unix, "splnode.Metrics") as metrics:
                assert "splnode_workers 2" in await metrics.text()
        os.kill(hanging, signal.SIGCONT)
        await until_logged(daemon, "worker answers again", 1)
        os.kill(hanging, signal.SIGSTOP)
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
        await until_gone(workers(daemon))
        assert [each["process"] for each in logged(daemon, "worker killed: it did not end in time")] == [hanging]
