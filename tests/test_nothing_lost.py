"""A write that was acknowledged is there after kill -9 of the node, whenever that comes."""

import asyncio
from pathlib import Path

import pytest

import splnode
from splnode.errors import CallError, Code
from tests.daemon import Daemon

CALLS = 1000
IN_FLIGHT = 64


async def write_until_it_dies(daemon: Daemon, life: int, kill_after: int) -> set[str]:
    """Runs the calls, kills the node after so many acknowledgements; gives the keys that were acknowledged."""
    execute = await splnode.discover(splnode.Endpoint.parse(daemon.tcp), "SPLExecuteService")
    acknowledged: set[str] = set()
    keys = iter([f"{life}-{number}" for number in range(CALLS)])
    enough = asyncio.Event()

    async with splnode.connect(daemon.tcp, execute) as client:

        async def writer() -> None:
            for key in keys:
                headers = {"topic": "kept", "primaryKey": key}
                try:
                    answer = await client.execute({"module": "spl/data/write", "headers": headers, "value": f"v{key}"})
                except CallError as error:
                    assert error.code is Code.UNAVAILABLE, error
                    return
                assert answer["status"] == "completed"
                acknowledged.add(key)
                if len(acknowledged) >= kill_after:
                    enough.set()

        writers = [asyncio.create_task(writer()) for _ in range(IN_FLIGHT)]
        await asyncio.wait_for(enough.wait(), 30)
        await daemon.kill()
        await asyncio.gather(*writers)
    return acknowledged


async def read_all(daemon: Daemon) -> dict[str, str]:
    """Every record of the topic, page by page."""
    data = await splnode.discover(splnode.Endpoint.parse(daemon.unix), "SPLDataService")
    found: dict[str, str] = {}
    async with splnode.connect(daemon.unix, data) as client:
        offset: int | None = 0
        while offset is not None:
            page = await client.read(topic="kept", limit=1000, offset=offset)
            found |= {record["primaryKey"]: record["data"] for record in page["records"]}
            offset = page["nextOffset"]
        assert len(found) == page["totalCount"]
    return found


@pytest.mark.parametrize("sync", ["full", "normal"])
async def test_every_acknowledged_record_survives_kill_9(tmp_path: Path, sync: str) -> None:
    daemon = Daemon(tmp_path, config=f'drain_seconds = 0.0\n[data]\nsync = "{sync}"')
    acknowledged: set[str] = set()
    async with daemon:
        for life, kill_after in enumerate((1, 150, 700)):
            if life:
                await daemon.start()
            acknowledged |= await write_until_it_dies(daemon, life, kill_after)
            await daemon.start()
            found = await read_all(daemon)
            assert acknowledged <= found.keys()
            assert all(value == f"v{key}" for key, value in found.items())
            await daemon.kill()
    assert len(acknowledged) >= 851
