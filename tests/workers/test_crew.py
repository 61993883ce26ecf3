"""Who starts when; that processes come and go is shown in test_supervisor.py."""

import asyncio
import socket
from typing import Any

import pytest

from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, ConfigError
from splnode.observe import metrics
from splnode.observe.metrics import Family
from splnode.rpc.tally import Tally
from splnode.workers import crew
from splnode.workers.crew import FIRST, LONGEST, Crew, pause


def test_pauses_grow_and_end() -> None:
    assert pause(0) == 0
    assert pause(1) == FIRST
    assert [round(pause(n), 2) for n in (2, 3)] == [0.8, 1.28]
    assert pause(1000) == LONGEST
    assert pause(1, 0.0) < FIRST < pause(1, 1.0)


class Process:
    """A worker that ends when it is told how."""

    def __init__(self, number: int) -> None:
        self.pid = number
        self.calls = 0
        self.hangs = False
        self.full = False
        self.handed: list[int] = []
        self.how: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def ended(self) -> str:
        return await asyncio.shield(self.how)

    def kill(self) -> None:
        if not self.how.done():
            self.how.set_result("killed")

    async def stop(self) -> None:
        if self.pid != 2:
            self.how.set_result("stopped")

    async def reload(self, config: str) -> None:
        self.config = config

    def hand(self, place: int, sock: Any) -> bool:
        self.handed.append(place)
        return not self.full

    async def metrics(self) -> tuple[list[Family], list[Family]]:
        if self.hangs:
            raise CallError(Code.DEADLINE_EXCEEDED, "no answer")
        self.calls += 1
        tally = Tally()
        for _ in range(self.calls):
            tally.ended(0.1)
        return [*metrics.calls({"S": {"m": tally}}), *metrics.places(3, 0)], metrics.process(
            {"process": f"worker {self.pid}"}
        )


class Port:
    """Counts what is taken."""

    endpoint = Endpoint("tcp", "127.0.0.1", 1)

    def __init__(self) -> None:
        self.given: list[list[Any]] = []
        self.back: list[list[Any]] = []

    def take(self) -> list[Any]:
        self.given.append([len(self.given)])
        return self.given[-1]

    def give_back(self, sockets: list[Any]) -> None:
        self.back.append(sockets)


class Workers:
    """Stands for WorkerProcess, for the clock and for the pauses."""

    def __init__(self) -> None:
        self.started: list[tuple[int, Process, Any]] = []
        self.arrived = asyncio.Event()
        self.refused: list[str] = []
        self.now = 0.0

    async def start(self, number: int, config: str, listening: Any, links: Any) -> Process:
        await asyncio.sleep(0)
        if self.refused:
            raise ConfigError(self.refused.pop())
        process = Process(number)
        self.started.append((number, process, listening))
        self.arrived.set()
        self.arrived = asyncio.Event()
        return process

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    made = Workers()
    monkeypatch.setattr(crew, "WorkerProcess", made)
    monkeypatch.setattr(crew, "time", made)
    monkeypatch.setattr(crew, "pause", lambda failures, chance: failures / 1000)
    return made


def crew_of(count: int, port: Port, serving: list[int]) -> Crew:
    async def links(number: int) -> list[Any]:
        return []

    ports: Any = [port]
    return Crew(count, ports, links=links, config=lambda: "{}", changed=serving.append)


async def test_one_that_ends_late_is_replaced_at_once_on_its_sockets(workers: Workers) -> None:
    port, serving = Port(), list[int]()
    made = crew_of(2, port, serving)
    await made.start()
    assert sorted(made.processes) == [1, 2]
    workers.now = crew.STEADY
    arrived = workers.arrived
    workers.started[0][1].how.set_result("exit status 1")
    await arrived.wait()
    number, _, listening = workers.started[2]
    assert (number, listening) == (1, workers.started[0][2])
    assert port.back == []
    await asyncio.sleep(0)
    assert serving == [1, 2, 1, 2]
    await made.close()


async def test_one_that_ends_soon_leaves_its_connections_to_the_others(workers: Workers) -> None:
    port, serving = Port(), list[int]()
    made = crew_of(2, port, serving)
    await made.start()
    workers.refused = ["worker 1 did not serve"]  # and then its next one does not start
    arrived = workers.arrived
    workers.started[0][1].how.set_result("signal SIGSEGV")
    await arrived.wait()
    assert port.back == [[0], [2]]
    assert workers.started[2][2][0][1] == [3]
    await made.close()


async def test_the_node_does_not_start_without_all(workers: Workers) -> None:
    made = crew_of(3, Port(), [])
    workers.refused = ["worker 1: no such thing"]
    with pytest.raises(ConfigError, match="no such thing"):
        await made.start()
    await made.close()
    assert all(process.how.done() for _, process, _ in workers.started)


async def test_who_does_not_stop_is_killed(workers: Workers) -> None:
    made = crew_of(3, Port(), [])
    await made.start()
    await made.reload()
    assert all(process.config == "{}" for _, process, _ in workers.started)
    await made.stop(0.05)
    assert {number: process.how.result() for number, process, _ in workers.started} == {
        1: "stopped", 2: "killed", 3: "stopped",
    }  # fmt: skip
    assert made.processes == {} or set(made.processes) == {2}


async def test_metrics_are_those_of_all_that_live_and_have_lived(workers: Workers) -> None:
    def numbers(families: list[Family]) -> dict[str, list[float]]:
        return {each["name"]: [sample["value"] for sample in each["samples"]] for each in families}

    made = crew_of(2, Port(), [])
    await made.start()
    found = numbers(await made.metrics())
    assert found["splnode_calls_total"] == [2]
    assert len(found["process_open_fds"]) == 2
    assert (found["splnode_workers"], found["splnode_workers_ended_total"]) == ([2], [0])
    first, second = workers.started[0][1], workers.started[1][1]
    second.hangs = True  # what it told last
    assert numbers(await made.metrics())["splnode_calls_total"] == [3]
    arrived = workers.arrived
    first.how.set_result("signal SIGKILL")
    await arrived.wait()
    await asyncio.sleep(0)
    found = numbers(await made.metrics())
    assert found["splnode_calls_total"] == [4]  # 2 of the one that is gone, 1 of the one that hangs, 1 of the new one
    assert found["splnode_calls_in_flight"] == [0]
    assert len(found["process_open_fds"]) == 2
    assert found["splnode_workers_ended_total"] == [1]
    await made.close()


async def test_each_in_turn_is_handed_a_connection(workers: Workers) -> None:
    port, sock = Port(), socket.socket()
    made = crew_of(3, port, [])
    shared: Any = port
    assert not made.hand(shared, sock)
    await made.start()
    first, second, third = (process for _, process, _ in sorted(workers.started, key=lambda each: each[0]))
    assert all(made.hand(shared, sock) for _ in range(6))
    assert [len(each.handed) for each in (first, second, third)] == [2, 2, 2]
    second.full = True
    assert all(made.hand(shared, sock) for _ in range(4))
    assert (len(first.handed), len(third.handed)) == (4, 4)
    first.full = third.full = True
    assert not made.hand(shared, sock)
    first.full = second.full = third.full = False
    third.hangs = True
    await made.metrics()
    before = len(third.handed)
    assert all(made.hand(shared, sock) for _ in range(4))
    assert len(third.handed) == before
    sock.close()
    await made.close()


async def test_calls_that_run_are_those_of_all(workers: Workers) -> None:
    made = crew_of(2, Port(), [])
    await made.start()
    assert made.running == 0
    for _, process, _ in workers.started:
        process.calls = 5
    await made.metrics()
    assert made.running == 2 * 3
    await made.close()
