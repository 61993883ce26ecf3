import os
from pathlib import Path

import splnode
from splnode.rpc.call import current_call
from tests.rpc.conftest import PROTOCOL, Inventory


class Who(Inventory):
    async def wait(self, name: str) -> str:
        return f"{current_call().peer.endpoint} {current_call().peer.uid}"


async def test_a_unix_peer_has_a_uid_a_tcp_peer_an_address(tmp_path: Path) -> None:
    async with splnode.listen([f"unix://{tmp_path}/s", "tcp://127.0.0.1:0"], {PROTOCOL: Who()}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            assert await client.wait(name="") == f"unix {os.getuid()}"
        async with splnode.connect(server.endpoints[1], PROTOCOL) as client:
            where, uid = (await client.wait(name="")).split()
            assert where.startswith("tcp://127.0.0.1:")
            assert uid == "None"
