"""`python -m avro.tool`, as anybody may type it: rpcsend to a node, rpcreceive called by splnode's client."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import avro.datafile
import avro.io
import avro.schema
import pytest

import splnode
from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code
from tests.interop.peer import DEADLINE, PROTOCOLS
from tests.interop.service import DEPOT, WEATHER, Weather, served
from tests.interop.test_peers_call_us import ITEM

TOOL = (sys.executable, "-P", "-W", "ignore", "-m", "avro.tool")


def datum(path: Path, schema: str, value: object) -> Path:
    """An Avro file with one value: what the tool sends, or answers."""
    with path.open("wb") as file:
        writer = avro.datafile.DataFileWriter(file, avro.io.DatumWriter(), avro.schema.parse(schema))
        writer.append(value)
        writer.close()
    return path


def parameters(protocol: Protocol, message: str) -> str:
    """The parameters of a message as the schema of a file."""
    found = json.loads(protocol.text)
    named = {each["name"]: each for each in found["types"]}
    fields = [
        {**field, "type": named.get(field["type"], field["type"]) if isinstance(field["type"], str) else field["type"]}
        for field in found["messages"][message]["request"]
    ]
    types = {"namespace": found["namespace"], "type": "record", "name": "Parameters", "fields": fields}
    text = json.dumps(types)
    for name, schema in named.items():  # a name is defined where it is first used
        quoted = f'"type": "{name}"'
        text = text.replace(quoted, f'"type": {json.dumps(schema)}', 1) if schema["type"] in ("enum", "fixed") else text
    return text


async def run(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *TOOL,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_rpcsend(tmp_path: Path) -> None:
    depot = str(PROTOCOLS / "depot.avpr")
    async with served(tmp_path, {WEATHER: Weather()}) as node:
        uri = f"http://127.0.0.1:{node.port}/"
        file = datum(tmp_path / "add.avro", parameters(DEPOT, "add"), {"a": 2, "b": 3})
        assert await run("rpcsend", uri, depot, "add", "-file", str(file)) == (0, "5\n", "")
        file = datum(tmp_path / "item.avro", parameters(DEPOT, "reserve"), {"item": ITEM})
        code, out, err = await run("rpcsend", uri, depot, "reserve", "-file", str(file))
        assert (code, err) == (0, "")
        assert out == f"{ITEM | {'labels': [*ITEM['labels'], 'reserved']}}\n"
        file = datum(tmp_path / "tell.avro", parameters(DEPOT, "tell"), {"text": "hello"})
        assert await run("rpcsend", uri, depot, "tell", "-file", str(file)) == (0, "None\n", "")
        assert await node.depot.told.get() == "hello"
        weather = str(PROTOCOLS / "weather.avpr")
        file = datum(tmp_path / "forecast.avro", parameters(WEATHER, "forecast"), {"place": "Bern"})
        assert await run("rpcsend", uri, weather, "forecast", "-file", str(file)) == (0, "rain in Bern\n", "")


async def test_rpcsend_and_errors(tmp_path: Path) -> None:
    depot = str(PROTOCOLS / "depot.avpr")
    async with served(tmp_path) as node:
        uri = f"http://127.0.0.1:{node.port}/"
        file = datum(tmp_path / "item.avro", parameters(DEPOT, "reserve"), {"item": ITEM | {"count": 11}})
        code, out, err = await run("rpcsend", uri, depot, "reserve", "-file", str(file))
        assert (code, out) == (1, "")
        assert "AvroRemoteException: {'sku': 'A1', 'left': 10}" in err
        file = datum(tmp_path / "fail.avro", parameters(DEPOT, "fail"), {"how": "code"})
        code, out, err = await run("rpcsend", uri, depot, "fail", "-file", str(file))
        assert (code, out) == (1, "")
        assert "AvroRemoteException: no such thing" in err


@contextlib.asynccontextmanager
async def receiving(message: str, file: Path | None) -> AsyncIterator[str]:
    """`avro.tool rpcreceive`, which serves one message until it was called, with one answer."""
    rest = [] if file is None else ["-file", str(file)]
    process = await asyncio.create_subprocess_exec(
        *TOOL, "rpcreceive", "http://127.0.0.1:0/", str(PROTOCOLS / "depot.avpr"), message, *rest,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            said = await process.stdout.readline()
            assert said.startswith(b"Port: "), said
            yield f"http+avro://127.0.0.1:{int(said[6:])}/"
            assert await process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_rpcreceive(tmp_path: Path) -> None:
    """HTTP/1.0 without a length: each connection is good for one POST, and the handshake takes two."""
    file = datum(tmp_path / "sum.avro", '"long"', 42)
    async with receiving("add", file) as endpoint, splnode.connect(endpoint, DEPOT, timeout=20) as client:
        assert await client.add(a=1, b=2) == 42


async def test_rpcreceive_and_a_message_that_it_does_not_answer(tmp_path: Path) -> None:
    """It answers null to it, which no long is: its own failure, which it writes to nowhere."""
    file = datum(tmp_path / "sum.avro", '"long"', 42)
    async with receiving("add", file) as endpoint, splnode.connect(endpoint, DEPOT, timeout=20) as client:
        with pytest.raises(CallError) as caught:
            await client.blob(data=b"x")
        assert caught.value.code is not Code.UNAVAILABLE
        assert await client.add(a=1, b=2) == 42
