"""The node in this process; as a process of its own it is tested in tests/cli/test_serve.py."""

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

import splnode
from splnode.avro.protocol import Protocol
from splnode.config import Config, parse
from splnode.errors import CallError, Code, ConfigError, SchemaError
from splnode.node import Node
from splnode.rpc.channel import Channel
from splnode.rpc.client import Client
from tests.rpc.conftest import PROTOCOL, Inventory


def config(directory: Path, more: str = "", listen: str | None = None) -> Config:
    endpoints = listen or f'"tcp://127.0.0.1:0", "unix://{directory}/s"'
    return parse(
        f'[node]\ndirectory = "{directory}/node"\nlisten = [{endpoints}]\ndrain_seconds = 0.0\n{more}', "test.toml"
    )


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_serves_what_is_shipped_and_ones_own_on_every_endpoint(tmp_path: Path) -> None:
    async with Node(config(tmp_path)) as node:
        node.serve(PROTOCOL, Inventory())
        assert node.services == (
            "SPLDataService", "SPLExecuteService", "splnode.Health", "splnode.Reflection", "splnode.Metrics",
            "SPLNodeService", "com.acme.Inventory",
        )  # fmt: skip
        assert len(node.endpoints) == 2
        for endpoint in node.endpoints:
            async with splnode.connect(endpoint, PROTOCOL) as client:
                assert await client.add(1, 2) == 3
            health = await splnode.discover(endpoint, "splnode.Health")
            async with splnode.connect(endpoint, health) as client:
                assert (await client.check(service="com.acme.Inventory"))["status"] == "SERVING"
                assert (await client.check(service=""))["status"] == "SERVING"


async def test_a_call_in_the_node_never_leaves_it(tmp_path: Path) -> None:
    async with Node(config(tmp_path)) as node:
        node.serve(PROTOCOL, Inventory())
        assert await node.client(PROTOCOL).add(1, 2) == 3
        written = await node.client("SPLDataService").write(topic="t", primaryKey="k", data="x")
        assert written["version"] == 1


async def test_keeps_its_id_and_its_records(tmp_path: Path) -> None:
    async with Node(config(tmp_path)) as node:
        first = node.id
        await node.client("SPLDataService").write(topic="t", primaryKey="k", data="kept")
    async with Node(config(tmp_path)) as node:
        assert node.id == first
        page = await node.client("SPLDataService").read(topic="t")
        assert [record["data"] for record in page["records"]] == ["kept"]


async def test_the_id_may_be_given(tmp_path: Path) -> None:
    async with Node(config(tmp_path, 'id = "kitchen"')) as node:
        assert node.id == "kitchen"


async def test_stopping_lets_what_runs_end_and_refuses_the_new(tmp_path: Path) -> None:
    inventory = Inventory()
    entered, left = asyncio.Event(), asyncio.Event()

    async def life() -> Node:
        async with Node(config(tmp_path)) as node:
            node.serve(PROTOCOL, inventory)
            clients.append(node.client(PROTOCOL))
            endpoints.extend(node.endpoints)
            nodes.append(node)
            entered.set()
            await node.stopped()
        left.set()
        return node

    clients: list[splnode.Client] = []
    endpoints: list[splnode.Endpoint] = []
    nodes: list[Node] = []
    living = asyncio.create_task(life())
    await asyncio.wait_for(entered.wait(), 10)
    async with splnode.connect(endpoints[0], PROTOCOL) as client:
        running = asyncio.create_task(client.wait(name="x"))
        await asyncio.wait_for(inventory.began.wait(), 20)
        nodes[0].stop()
        while True:  # until the drain has begun to refuse
            await asyncio.sleep(0)  # a call in process may end without ever leaving its task
            try:
                await clients[0].add(1, 1)
            except CallError as error:
                assert (error.code, error.started) == (Code.UNAVAILABLE, False)
                break
        assert not left.is_set()
        inventory.waiting["x"].set_result("done")
        assert await asyncio.wait_for(running, 20) == "done"
    await asyncio.wait_for(living, 10)
    assert inventory.closed


async def test_stopping_cancels_what_does_not_end(tmp_path: Path) -> None:
    inventory = Inventory()
    async with Node(config(tmp_path, "stop_seconds = 0.05")) as node:
        node.serve(PROTOCOL, inventory)
        async with splnode.connect(node.endpoints[0], PROTOCOL) as client:
            running = asyncio.create_task(client.wait(name="x"))
            await asyncio.wait_for(inventory.began.wait(), 20)
            node.stop()
            await node.stopped()
            # leaving both: the node drains first
            await node.__aexit__(None, None, None)
            with pytest.raises(CallError) as caught:
                await running
    assert caught.value.code is Code.UNAVAILABLE
    assert inventory.cancelled.is_set()


async def test_a_taken_port_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"tcp://127.0.0.1:{port}: the port is taken"):
            async with Node(config(tmp_path, listen=f'"tcp://127.0.0.1:{port}"')):
                pass
    async with Node(config(tmp_path)):
        pass  # the failed start has left nothing locked


async def test_a_stale_socket_file_is_replaced_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with Node(config(tmp_path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with pytest.raises(ConfigError, match="a node listens there already"):
            async with Node(config(tmp_path / "other", listen=f'"unix://{path}"')):
                pass
        assert path.exists()
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(ConfigError, match="a file that is no socket"):
        async with Node(config(tmp_path)):
            pass
    assert path.read_text() == "precious"


async def test_two_nodes_cannot_share_a_store(tmp_path: Path) -> None:
    async with Node(config(tmp_path)):
        with pytest.raises(ConfigError, match="data"):
            async with Node(config(tmp_path, listen='"tcp://127.0.0.1:0"')):
                pass


async def test_off_loopback_needs_a_word(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--insecure"):
        async with Node(config(tmp_path, listen='"tcp://0.0.0.0:0"')):
            pass
    async with Node(config(tmp_path, "insecure = true", listen='"tcp://0.0.0.0:0"')) as node:
        assert node.endpoints[0].port > 0


async def test_reload_changes_what_can_change(tmp_path: Path) -> None:
    async with Node(config(tmp_path)) as node:
        node.serve(PROTOCOL, Inventory())
        node.reload(config(tmp_path, "insecure = true\n[calls]\ntimeout = 7.0\n[admission]\nrunning = 3"))
        assert node.config.calls.timeout == 7.0
        assert node.config.admission.running == 3
        assert node.config.node.insecure is False


async def test_a_protocol_that_cannot_be_served(tmp_path: Path) -> None:
    async with Node(config(tmp_path)) as node:
        with pytest.raises(SchemaError, match="message add has no method"):
            node.serve(PROTOCOL, object())
        with pytest.raises(SchemaError, match=r"nothing\.avpr"):
            node.serve(tmp_path / "nothing.avpr", object())
        with pytest.raises((ConfigError, SchemaError), match="nothing"):
            node.serve("nothing", object())


async def test_a_handler_that_is_cancelled_may_still_clean_up(tmp_path: Path) -> None:
    cleaned = asyncio.Event()

    class Tidy(Inventory):
        async def wait(self, name: str) -> str:
            try:
                return await super().wait(name)
            finally:
                await asyncio.sleep(0.01)  # clock: cleaning up takes its time
                await data.write(topic="t", primaryKey=name, data="cleaned up")
                cleaned.set()

    inventory = Tidy()
    async with Node(config(tmp_path, "stop_seconds = 0.05")) as node:
        node.serve(PROTOCOL, inventory)
        data = node.client("SPLDataService")
        async with splnode.connect(node.endpoints[0], PROTOCOL) as client:
            running = asyncio.create_task(client.wait(name="x"))
            await asyncio.wait_for(inventory.began.wait(), 20)
            await node.__aexit__(None, None, None)
            assert cleaned.is_set()
            with pytest.raises(CallError):
                await running


async def test_a_body_that_raises_ends_it_at_once(tmp_path: Path) -> None:
    inventory = Inventory()
    with pytest.raises(ValueError, match="mine"):
        async with Node(config(tmp_path, "stop_seconds = 60.0")) as node:
            node.serve(PROTOCOL, inventory)
            endpoint = node.endpoints[0]
            running = asyncio.create_task(node.client(PROTOCOL).wait(name="x"))
            await asyncio.wait_for(inventory.began.wait(), 20)
            inventory.waiting["x"].set_result("")
            await running
            raise ValueError("mine")
    assert inventory.closed
    with pytest.raises(CallError, match="refused"):
        async with splnode.connect(endpoint, PROTOCOL):
            pass


@pytest.mark.parametrize("step", ["identity", "store", "modules", "protocol", "second endpoint"])
async def test_whatever_fails_at_the_start_leaves_nothing(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors()
    with monkeypatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as taken:
        settings = config(tmp_path)
        if step == "identity":
            (tmp_path / "node").write_text("no directory")
        elif step == "store":
            (tmp_path / "node").mkdir()
            (tmp_path / "node" / "data").write_text("no directory")
        elif step == "modules":
            settings = config(tmp_path, f'[modules]\npath = "{tmp_path}/none"')
        elif step == "protocol":
            patch.setattr("splnode.node.ReflectionService", lambda *args, **options: object())
        else:
            port = taken.getsockname()[1]
            settings = config(tmp_path, listen=f'"unix://{tmp_path}/s", "tcp://127.0.0.1:{port}"')
        with pytest.raises((ConfigError, SchemaError)):
            async with Node(settings):
                pass
    await asyncio.sleep(0)
    assert not (tmp_path / "s").exists()
    assert descriptors() == before
    for name in ("node/data", "node"):
        if (tmp_path / name).is_file():
            (tmp_path / name).unlink()
    async with Node(config(tmp_path)) as node:
        assert await node.client("SPLDataService").listTopics() is not None


async def test_cancelled_while_it_starts_it_leaves_nothing(tmp_path: Path) -> None:
    before = descriptors()

    async def life() -> None:
        async with Node(config(tmp_path)):
            await asyncio.Event().wait()

    for moment in range(8):
        living = asyncio.create_task(life())
        for _ in range(moment):
            await asyncio.sleep(0)
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
    await asyncio.sleep(0)
    assert not (tmp_path / "s").exists()
    assert descriptors() == before


async def test_told_to_stop_before_it_has_started(tmp_path: Path) -> None:
    node = Node(config(tmp_path))
    node.stop()
    node.stop()
    async with node:
        await asyncio.wait_for(node.stopped(), 20)
    with pytest.raises(RuntimeError, match="entered once"):
        await node.__aenter__()


async def test_one_name_is_served_once(tmp_path: Path) -> None:
    async with Node(config(tmp_path)) as node:
        node.serve(PROTOCOL, Inventory())
        with pytest.raises(ConfigError, match=r"com\.acme\.Inventory is served already"):
            node.serve(PROTOCOL, Inventory())


async def test_reload_leaves_what_needs_a_restart(tmp_path: Path) -> None:
    async with Node(config(tmp_path)) as node:
        for _ in range(2):
            with structlog.testing.capture_logs() as logs:
                node._listener.host.timeout = 1.0  # type: ignore[union-attr]  # it is there once it has started
                node.reload(config(tmp_path, "[calls]\nforce_codec = true\ntimeout = 7.0"))
            assert node.config.calls.force_codec is False
            assert node.config.calls.timeout == 7.0
            assert node._listener.host.timeout == 7.0  # type: ignore[union-attr]  # as above
            assert "calls.force_codec" in [line.get("key") for line in logs]


async def test_a_watch_of_its_health_does_not_delay_the_stop(tmp_path: Path) -> None:
    async with Node(config(tmp_path, "stop_seconds = 60.0")) as node:
        client = node.client("splnode.Health")

        async def watch() -> None:
            revision = None
            while True:
                revision = (await client.watch(service="", revision=revision, timeoutMs=30_000))["revision"]

        watching = asyncio.ensure_future(watch())
        await asyncio.sleep(0)
        await asyncio.wait_for(node.__aexit__(None, None, None), 10)
        with pytest.raises(CallError) as caught:
            await watching
        assert not caught.value.started


async def test_a_node_that_is_full_still_says_how_it_is(tmp_path: Path) -> None:
    async with Node(config(tmp_path, "[admission]\nrunning = 1\nqueued = 1\n")) as node:
        endpoint = node.endpoints[0]
        async with splnode.connect(endpoint, "splnode.Health") as watcher:
            revision = (await watcher.check())["revision"]
            watches = [asyncio.create_task(watcher.watch(revision=revision)) for _ in range(5)]
            async with splnode.connect(endpoint, "SPLDataService") as client:  # watches take no place from it
                assert (await client.listTopics())["totalCount"] == 0
            node._admission.places.running = 1  # as if a handler ran, and another call waited for it
            node._admission._room = 0
            with pytest.raises(CallError, match="handlers run"):
                async with splnode.connect(endpoint, "SPLDataService") as client:
                    await client.listTopics()
            assert (await watcher.check())["status"] == "SERVING"
            node._admission.places.running = 0
            node._health.leave()
            assert {each["status"] for each in await asyncio.gather(*watches)} == {"NOT_SERVING"}


async def test_tells_its_metrics_by_call_and_by_http(tmp_path: Path) -> None:
    async with Node(config(tmp_path)) as node:
        node.serve(PROTOCOL, Inventory())
        async with splnode.connect(node.endpoints[0], PROTOCOL) as client:
            assert [await client.add(1, number) for number in range(3)] == [1, 2, 3]
            with pytest.raises(CallError):
                await client.fail("code")
            reader, writer = await asyncio.open_connection("127.0.0.1", node.endpoints[0].port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
            writer.close()
        assert head.startswith(b"HTTP/1.1 200")
        assert b"text/plain; version=0.0.4" in head
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }
        assert found["splnode_calls_total", "com.acme.Inventory", "add", "OK"] == 3
        assert found["splnode_calls_total", "com.acme.Inventory", "fail", "NOT_FOUND"] == 1
        assert found["splnode_call_seconds_count", "com.acme.Inventory", "add"] == 3
        assert found["splnode_calls_in_flight", "com.acme.Inventory", "add"] == 0
        assert found["splnode_connections",] == found["splnode_connections_accepted_total",] >= 2  # or strangers
        assert found["splnode_received_bytes_total",] > found["splnode_sent_bytes_total",] > 100
        families = await node.client("splnode.Metrics").read()
        assert "splnode_build_info" in [family["name"] for family in families]


RELAY = Protocol.parse(
    """{"protocol": "Relay", "types": [], "messages": {
        "ask": {"request": [{"name": "left", "type": "int"}], "response": "string"}}}"""
)


class Relay:
    """Asks the next node, which asks the next; the last one says who it is."""

    def __init__(self, name: str, client: Callable[[], Client]) -> None:
        self.name = name
        self.client = client

    async def ask(self, left: int) -> str:
        return str(await self.client().ask(left=left - 1)) if left else self.name


async def test_what_is_served_elsewhere_is_called_there(tmp_path: Path) -> None:
    async with Node(config(tmp_path / "far")) as far:
        far.serve(PROTOCOL, Inventory())
        peers = f"[discovery]\npeers = ['{far.endpoints[0]}']\n"
        async with Node(config(tmp_path / "near", peers)) as near:
            client = near.client(PROTOCOL)
            assert await client.add(1, 1) == 2
            await far.__aexit__(None, None, None)
            with pytest.raises(CallError) as caught:
                await client.call("add", {"a": 1, "b": 1}, timeout=5)
            assert caught.value.code is Code.UNAVAILABLE


async def test_clients_of_one_text_share_a_contract_and_with_it_the_ways_to_other_nodes(tmp_path: Path) -> None:
    async with Node(config(tmp_path)) as node:
        one, two = node.client(PROTOCOL), node.client(Protocol.parse(PROTOCOL.text))
        assert one.contract is two.contract
        assert node.client(RELAY).contract is not one.contract


@pytest.mark.parametrize("inside", [False, True])
async def test_nodes_that_call_in_a_circle_are_told(tmp_path: Path, inside: bool) -> None:
    """A relay calls itself through another node, or calls in process who does: who called first hears of it."""
    door = Protocol.parse(RELAY.text.replace("Relay", "Door"))
    async with Node(config(tmp_path / "one")) as one:
        peers = f"[discovery]\npeers = ['{one.endpoints[0]}']\n"
        async with Node(config(tmp_path / "other", peers)) as other:
            calls = Client(elsewhere(other), RELAY)
            one.serve(door, Relay("door", lambda: calls))
            one.serve(RELAY, Relay("one", lambda: one.client(door) if inside else calls))
            assert await calls.ask(left=4) == "one"
            with structlog.testing.capture_logs() as logs, pytest.raises(CallError) as caught:
                await calls.ask(left=60)
    assert (caught.value.code, caught.value.hops) == (Code.FAILED_PRECONDITION, 16)
    assert "Relay.ask: nodes call one another in a circle for its sake; it was cut after 16 hops" in str(caught.value)
    assert [line["by"] for line in logs if line["event"] == "circle cut"] == ["Door.ask" if inside else "Relay.ask"]


async def test_ones_own_class_is_served(tmp_path: Path) -> None:
    shop = Path(__file__).parent / "hosts" / "shop"
    service = f"services = ['{shop}/shop.avpr={shop}/shop.py:Shop']\n"
    async with Node(config(tmp_path, service)) as node:
        assert "com.acme.Shop" in node.services
        assert await node.client(str(shop / "shop.avpr")).price(sku="A1") == 2
    async with Node(config(tmp_path, service)) as node:
        assert "com.acme.Shop" in node.services
    with pytest.raises(ConfigError, match="has no class 'Shoe'"):
        async with Node(config(tmp_path, service.replace(":Shop", ":Shoe"))):
            pass


def elsewhere(node: Node) -> Channel:
    channel = node._router.elsewhere
    assert channel is not None
    return channel


async def test_what_a_killed_node_left_unfinished_is_removed_at_the_start(tmp_path: Path) -> None:
    settings = config(tmp_path)
    folder = settings.data_directory / "files" / "a"
    folder.mkdir(parents=True)
    left, own = folder / ".0123456789abcdef.tmp", folder / "own.tmp"
    for path in (left, own):
        path.write_bytes(b"half")
        os.utime(path, (0, 0))
    async with Node(settings):
        assert not left.exists()
        assert own.exists()
