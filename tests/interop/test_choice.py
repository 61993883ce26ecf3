"""Several services on one port: a stock client gets the one that it means."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import splnode
from splnode.avro.protocol import Protocol
from splnode.endpoint import Endpoint
from splnode.errors import CallError
from tests.interop.peer import PROTOCOLS, Peer, Remote, RemoteFailure
from tests.interop.service import DEPOT, WEATHER, Weather, served

TWO = {WEATHER: Weather()}


async def opened(peer: Peer, where: dict[str, object], protocol: str, **options: Any) -> Remote:
    answer = await peer.ask("open", protocol=str(PROTOCOLS / f"{protocol}.avpr"), **where, **options)
    return Remote(peer, answer["ok"])


AVSC = ["netty", "netty-unix", "function", "http"]


@pytest.mark.parametrize("transport", AVSC)
async def test_avsc_by_its_hash(avsc: Peer, tmp_path: Path, transport: str) -> None:
    """All that it says at first is a hash and a ping; the protocol in the answer must be the one it means."""
    async with served(tmp_path, TWO) as node:
        for _ in range(2):  # the second time its protocol is known
            weather = await opened(avsc, node.where(transport), "weather")
            depot = await opened(avsc, node.where(transport), "depot")
            assert await weather.call("forecast", {"place": "Bern"}) == "rain in Bern"
            assert await weather.call("add", {"a": 1, "b": 2}) == "1 and 2 degrees"
            assert await depot.call("add", {"a": 1, "b": 2}) == 3
            await weather.ask("close")
            await depot.ask("close")


@pytest.mark.parametrize("peer", ["avsc", "python_avro", "java"])
async def test_by_the_path(peer: str, peer_named: Callable[[str], Peer], tmp_path: Path) -> None:
    async with served(tmp_path, TWO) as node:
        for resource in ("/Weather", "/com.acme.Weather", "/api/Weather"):
            client = await opened(peer_named(peer), node.where("http", resource), "weather")
            assert await client.call("add", {"a": 1, "b": 2}) == "1 and 2 degrees"
            await client.ask("close")


@pytest.mark.parametrize("transport", ["http", "function"])
async def test_avsc_by_the_message(avsc: Peer, tmp_path: Path, transport: str) -> None:
    """Its protocol bears another name and a hash that nobody knows; without a ping the call comes first."""
    renamed = tmp_path / "renamed.avpr"
    renamed.write_text(WEATHER.text.replace('"Weather"', '"Sky"'))
    async with served(tmp_path, TWO) as node:
        answer = await avsc.ask("open", protocol=str(renamed), noPing=True, **node.where(transport))
        client = Remote(avsc, answer["ok"])
        assert await client.call("forecast", {"place": "Bern"}) == "rain in Bern"
        await client.ask("close")


async def test_python_by_the_message(python_avro: Peer, tmp_path: Path) -> None:
    async with served(tmp_path, TWO) as node:
        client = await opened(python_avro, node.where("http"), "weather")
        assert await client.call("forecast", {"place": "Bern"}) == "rain in Bern"
        await client.ask("close")


JAVA = ["netty", "sasl", "socket", "http"]


@pytest.mark.parametrize("transport", JAVA)
async def test_java_by_the_message(java: Peer, tmp_path: Path, transport: str) -> None:
    """It sends its first call with its handshake."""
    async with served(tmp_path, TWO) as node:
        client = await opened(java, node.where(transport), "weather")
        assert await client.call("forecast", {"place": "Bern"}) == "rain in Bern"
        assert await client.call("add", {"a": 1, "b": 2}) == "1 and 2 degrees"
        await client.ask("close")


PAIR = [{"name": "a", "type": "long"}, {"name": "b", "type": "long"}]
# Twin's message is one of Depot too, and fits it; its keys are in an order that no serialisation has.
TWIN = Protocol.parse(
    json.dumps(
        {"messages": {"add": {"response": "long", "request": PAIR}}, "protocol": "Twin", "namespace": "com.acme"}
    )
)


class Twin:
    def add(self, a: int, b: int) -> int:
        return a * b


@pytest.mark.parametrize("transport", JAVA)
async def test_java_by_its_name(java: Peer, tmp_path: Path, transport: str) -> None:
    """The first answer names the wrong service, and its hash comes back; the name in the client's text counts."""
    (tmp_path / "twin.avpr").write_text(TWIN.text)
    async with served(tmp_path, {TWIN: Twin()}) as node:
        for _ in range(2):
            answer = await java.ask("open", protocol=str(tmp_path / "twin.avpr"), **node.where(transport))
            client = Remote(java, answer["ok"])
            assert await client.call("add", {"a": 5, "b": 7}) == 35
            await client.ask("close")


async def test_python_does_not_get_another_service_than_it_names(python_avro: Peer, tmp_path: Path) -> None:
    """It takes the first answer for the truth, and fails when that turns out to be wrong: it needs the path."""
    (tmp_path / "twin.avpr").write_text(TWIN.text)
    async with served(tmp_path, {TWIN: Twin()}) as node:
        where = {"protocol": str(tmp_path / "twin.avpr"), **node.where("http")}
        client = Remote(python_avro, (await python_avro.ask("open", **where))["ok"])
        with pytest.raises(RemoteFailure, match=r"Handshake failure\."):
            await client.call("add", {"a": 5, "b": 7})
        await client.ask("close")
        client = Remote(python_avro, (await python_avro.ask("open", **(where | {"resource": "/Twin"})))["ok"])
        assert await client.call("add", {"a": 5, "b": 7}) == 35
        await client.ask("close")


@pytest.mark.parametrize("transport", ["netty", "netty-unix"])
async def test_avsc_by_the_hash_of_the_server(avsc: Peer, tmp_path: Path, transport: str) -> None:
    """What an earlier answer taught it, presented at once: no NONE at all."""
    renamed = tmp_path / "renamed.avpr"
    renamed.write_text(WEATHER.text.replace('"Weather"', '"Sky"'))
    async with served(tmp_path, TWO) as node:
        answer = await avsc.ask(
            "open",
            protocol=str(renamed),
            server={"protocol": str(PROTOCOLS / "weather.avpr"), "hash": WEATHER.md5},
            **node.where(transport),
        )
        client = Remote(avsc, answer["ok"])
        assert await client.call("add", {"a": 1, "b": 2}) == "1 and 2 degrees"
        assert await client.ask("handshakes") | {"id": 0} == {"id": 0, "value": ["NONE", "BOTH"]}
        await client.ask("close")


@pytest.mark.parametrize("transport", AVSC)
async def test_the_service_of_the_listener(avsc: Peer, tmp_path: Path, transport: str) -> None:
    renamed = tmp_path / "renamed.avpr"
    renamed.write_text(WEATHER.text.replace('"Weather"', '"Sky"'))
    async with served(tmp_path, TWO, "?service=Weather") as node:
        client = Remote(avsc, (await avsc.ask("open", protocol=str(renamed), **node.where(transport)))["ok"])
        assert await client.call("add", {"a": 1, "b": 2}) == "1 and 2 degrees"
        await client.ask("close")


@pytest.mark.parametrize("transport", AVSC)
async def test_discover_protocol(avsc: Peer, tmp_path: Path, transport: str) -> None:
    """It comes as a protocol without messages and gets the default service's text, whole."""
    async with served(tmp_path, TWO) as node:
        answer = await avsc.ask("discover", **node.where(transport))
        assert answer["value"] == json.loads(DEPOT.text)
        if transport == "http":
            answer = await avsc.ask("discover", **node.where(transport, "/Weather"))
            assert answer["value"] == json.loads(WEATHER.text)


@pytest.mark.parametrize("framing", ["netty", "spec", "sasl", "http"])
async def test_our_own_client(framing: str, tmp_path: Path) -> None:
    async with served(tmp_path, TWO) as node:
        where = f"tcp://127.0.0.1:{node.port}?framing={framing}"
        if framing == "http":
            where = f"http+avro://127.0.0.1:{node.port}/"
        async with splnode.connect(where, WEATHER) as weather, splnode.connect(where, DEPOT) as depot:
            assert await weather.add(a=1, b=2) == "1 and 2 degrees"
            assert await depot.add(a=1, b=2) == 3
        endpoint = Endpoint.parse(where)
        assert (await splnode.discover(endpoint, "Weather")).md5 == WEATHER.md5
        assert (await splnode.discover(endpoint, "com.acme.Weather")).text == WEATHER.text
        assert (await splnode.discover(endpoint)).text == DEPOT.text


async def test_a_client_of_no_service_here(python_avro: Peer, tmp_path: Path) -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {WEATHER: Weather()}) as listening:
        endpoint = listening.endpoints[0]
        with pytest.raises(CallError, match="Weather has no message 'blob'"):
            async with splnode.connect(endpoint, DEPOT) as client:
                await client.blob(data=b"")


def test_the_hash_that_avsc_presents() -> None:
    """What these tests rest on: it is not the MD5 of the file."""
    stringified = json.dumps(json.loads(WEATHER.text), separators=(",", ":"))
    assert hashlib.md5(stringified.encode()).digest() != WEATHER.md5
