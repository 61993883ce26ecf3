"""The yaq family: yaqc calls a splnode service, splnode's client calls a daemon of yaqd-fakes."""

import asyncio
import importlib.util
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

import splnode
from splnode.avro.protocol import Protocol
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from tests.interop.peer import DEADLINE, Peer, Remote, RemoteFailure
from tests.interop.service import DEPOT, Depot
from tests.require import require

KIND = "fake-continuous-hardware"


@pytest.fixture(scope="session")
def hardware() -> Protocol:
    """The protocol of that daemon as it is shipped: names with hyphens, `traits`, `properties`, NaN in its JSON."""
    spec = importlib.util.find_spec("yaqd_fakes")
    require(spec is not None, "yaqd-fakes", "pip install yaqd-fakes")
    assert spec is not None and spec.origin is not None
    return Protocol.load(Path(spec.origin).with_name(f"{KIND}.avpr"))


@pytest.fixture(scope="session")
def lab(hardware: Protocol) -> Protocol:
    """The same with messages for what no daemon does."""
    text = json.loads(hardware.text)
    text["types"].append(
        {
            "type": "record",
            "name": "Spot",
            "fields": [{"name": "x", "type": "double"}, {"name": "name", "type": "string"}],
        }
    )
    text["messages"] |= {
        "blob": {"request": [{"name": "data", "type": "bytes"}], "response": "bytes"},
        "fail": {"request": [{"name": "how", "type": "string"}], "response": "null"},
        "mirror": {
            "request": [
                {"name": "spot", "type": "Spot"},
                {"name": "times", "type": "int", "default": 2},
                {"name": "label", "type": ["null", "string"], "default": None},
            ],
            "response": {"type": "array", "items": "Spot"},
        },
    }
    return Protocol.parse(json.dumps(text))


class Hardware:
    """A yaq daemon without yaq."""

    def __init__(self) -> None:
        self.position = 0.25

    def id(self) -> dict[str, str | None]:
        return {"name": "ours", "kind": KIND, "make": "splnode", "model": None, "serial": None}

    def busy(self) -> bool:
        return False

    def get_position(self) -> float:
        return self.position

    get_destination = get_position

    def set_position(self, position: float) -> None:
        self.position = position

    def set_relative(self, distance: float) -> float:
        self.position += distance
        return self.position

    def get_limits(self) -> list[float]:
        return [0, 1]

    def in_limits(self, position: float) -> bool:
        return 0 <= position <= 1

    def get_units(self) -> str | None:
        return "mm"

    def get_config(self) -> str:
        return ""

    get_config_filepath = get_state = get_config

    def shutdown(self, restart: bool) -> None:
        raise AssertionError

    def blob(self, data: bytes) -> bytes:
        return data

    def fail(self, how: str) -> None:
        if how == "code":
            raise CallError(Code.NOT_FOUND, "no such thing")
        raise ValueError(how)

    def mirror(self, spot: dict[str, Any], times: int, label: str | None) -> list[dict[str, Any]]:
        return [spot | {"name": label or spot["name"]}] * times


async def test_yaqc_calls_us(yaqc: Peer, lab: Protocol) -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {lab: Hardware(), DEPOT: Depot()}) as listening:
        opened = await yaqc.ask("open", port=listening.endpoints[0].port)
        assert opened["identity"]["name"] == "ours"
        assert opened["identity"]["model"] is None
        assert opened["traits"] == ["has-limits", "has-position", "is-daemon"]
        client = Remote(yaqc, opened["ok"])
        assert await client.call("get_position", {}) == 0.25
        assert await client.call("set_position", {"position": 0.75}) is None
        assert await client.call("set_relative", {"distance": -0.5}) == 0.25
        assert await client.call("in_limits", {"position": 2}) is False
        assert await client.call("get_units", {}) == "mm"
        await client.ask("close")


async def test_yaqc_and_our_properties(yaqc: Peer, lab: Protocol) -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {lab: Hardware()}) as listening:
        client = Remote(yaqc, (await yaqc.ask("open", port=listening.endpoints[0].port))["ok"])
        await client.ask("property", name="destination", set=0.5)
        found = await client.ask("property", name="position")
        assert found["value"] == {"is": 0.5, "units": "mm", "limits": [0, 1], "type": "double"}
        await client.ask("close")


async def test_yaqc_and_our_errors(yaqc: Peer, lab: Protocol) -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {lab: Hardware()}) as listening:
        client = Remote(yaqc, (await yaqc.ask("open", port=listening.endpoints[0].port))["ok"])
        with pytest.raises(RemoteFailure) as caught:
            await client.call("fail", {"how": "code"})
        assert caught.value.system == "no such thing"
        with pytest.raises(RemoteFailure) as caught:
            await client.call("fail", {"how": "s3cret"})
        assert caught.value.system and "s3cret" not in caught.value.system
        assert await client.call("get_position", {}) == 0.25
        await client.ask("close")


async def test_yaqc_large_and_many_parameters(yaqc: Peer, lab: Protocol) -> None:
    """It sends each parameter as a buffer of its own, and reads an answer as soon as it can be one."""
    async with splnode.listen(["tcp://127.0.0.1:0"], {lab: Hardware()}) as listening:
        client = Remote(yaqc, (await yaqc.ask("open", port=listening.endpoints[0].port))["ok"])
        data = bytes(range(256)) * 1200
        assert await client.call("blob", {"data": data}) == data
        assert await client.call("blob", {"data": b""}) == b""
        spot = {"x": 1.5, "name": "grün"}
        assert await client.call("mirror", {"spot": spot, "times": 3, "label": None}) == [spot] * 3
        assert await client.call("mirror", {"spot": spot}) == [spot] * 2
        for _ in range(10):
            assert await client.call("get_position", {}) == 0.25
        await client.ask("close")


async def test_yaqc_comes_again_after_a_restart(yaqc: Peer, lab: Protocol) -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {lab: Hardware()}) as listening:
        endpoint = listening.endpoints[0]
        client = Remote(yaqc, (await yaqc.ask("open", port=endpoint.port))["ok"])
        assert await client.call("get_position", {}) == 0.25
    async with splnode.listen([endpoint], {lab: Hardware()}):
        assert await client.call("get_position", {}) == 0.25
        await client.ask("close")


def free_ports() -> tuple[int, int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return sockets[0].getsockname()[1], sockets[1].getsockname()[1]


@pytest.fixture(scope="session")
def daemon(hardware: Protocol, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real daemon that runs.

    It logs the port of each of its two sections before it listens there, one after the other: when the second
    one is logged, the first one listens.
    """
    home = tmp_path_factory.mktemp("yaq")
    port, second = free_ports()
    section = 'host = "127.0.0.1"\nlimits = [-10, 10]\nunits = "mm"\nvelocity = 1000\nout_of_limits = "error"\n'
    config = home / "config.toml"
    config.write_text(f'[first]\nport = {port}\nserial = "X-1"\n{section}\n[second]\nport = {second}\n{section}')
    program = "from yaqd_fakes._fake_continuous_hardware import FakeContinuousHardware as Daemon; Daemon.main()"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", program, "--config", str(config)],
        env={"HOME": str(home), "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    listening: SimpleQueue[bool] = SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if f"TCP Port = {second}" in line:
                listening.put(True)
        listening.put(False)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert listening.get(timeout=DEADLINE), "".join(said)
        yield port
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()


async def test_we_call_a_daemon(daemon: int, hardware: Protocol) -> None:
    async with splnode.connect(f"tcp://127.0.0.1:{daemon}?framing=spec", hardware, timeout=20) as client:
        identity = await client.id()
        assert (identity["name"], identity["kind"], identity["serial"]) == ("first", KIND, "X-1")
        assert identity["make"] is None
        assert await client.get_limits() == [-10, 10]
        assert await client.get_units() == "mm"
        assert await client.in_limits(position=11) is False
        assert await client.set_position(position=2.5) is None
        assert await client.get_destination() == 2.5
        assert "velocity = 1000" in await client.get_config()


async def test_the_properties_of_a_daemon(daemon: int) -> None:
    """What a protocol's extra keys say of its messages is kept, and is enough to use them."""
    endpoint = Endpoint.parse(f"tcp://127.0.0.1:{daemon}?framing=spec")
    protocol = await splnode.discover(endpoint, KIND)
    properties: Any = protocol.properties["properties"]
    async with splnode.connect(endpoint, protocol, timeout=20) as client:
        for name in ("position", "destination"):
            said = properties[name]
            assert isinstance(await client.call(said["getter"]), float)
            assert await client.call(said["units_getter"]) == "mm"
            assert await client.call(said["limits_getter"]) == [-10, 10]
        await client.call(properties["destination"]["setter"], {"position": -1.5})
        assert await client.call(properties["destination"]["getter"]) == -1.5
    assert protocol.properties["traits"] == ["has-limits", "has-position", "is-daemon"]


async def test_the_errors_of_a_daemon(daemon: int, hardware: Protocol) -> None:
    async with splnode.connect(f"tcp://127.0.0.1:{daemon}?framing=spec", hardware, timeout=20) as client:
        with pytest.raises(CallError) as caught:
            await client.set_position(position=11.0)
        assert (caught.value.code, caught.value.remote) == (Code.UNKNOWN, True)
        assert "11" in caught.value.message
        assert await client.get_units() == "mm"


async def test_a_daemon_and_another_version_of_its_protocol(daemon: int, hardware: Protocol) -> None:
    """Fewer messages, a wider answer, and one that it does not have, which fails alone."""
    text = json.loads(hardware.text)
    text["messages"] = {name: text["messages"][name] for name in ("get_units", "set_relative", "get_limits")}
    text["messages"]["get_units"]["response"] = ["null", "string", "int"]
    text["messages"]["calibrate"] = {"request": [], "response": "null"}
    protocol = Protocol.parse(json.dumps(text))
    async with splnode.connect(f"tcp://127.0.0.1:{daemon}?framing=spec", protocol, timeout=20) as client:
        assert await client.get_units() == "mm"
        with pytest.raises(CallError) as caught:
            await client.calibrate()
        assert (caught.value.code, caught.value.started) == (Code.UNIMPLEMENTED, False)
        assert await client.get_limits() == [-10, 10]


async def test_a_daemon_answers_metadata_with_itself(daemon: int, hardware: Protocol) -> None:
    async with splnode.connect(f"tcp://127.0.0.1:{daemon}?framing=spec", hardware, timeout=20) as client:
        call = client.prepare("in_limits", {"position": 1.0}, metadata={"x-trace": b"abc\0\xff"})
        assert await client.send(call) is True
        assert call.answer_metadata["x-trace"] == b"abc\0\xff"


async def test_a_daemon_gets_a_hundred_calls_at_a_time(daemon: int, hardware: Protocol) -> None:
    async with splnode.connect(f"tcp://127.0.0.1:{daemon}?framing=spec", hardware, timeout=20) as client:
        answers = await asyncio.gather(*(client.in_limits(position=float(i - 50)) for i in range(100)))
    assert answers == [-10 <= i - 50 <= 10 for i in range(100)]
