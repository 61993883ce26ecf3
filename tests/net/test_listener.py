import pytest

import splnode
from splnode.errors import ConfigError, SchemaError
from tests.rpc.conftest import PROTOCOL, Inventory


async def test_tells_the_ports_it_was_given(tmp_path: object) -> None:
    endpoints = ["tcp://127.0.0.1:0", f"unix://{tmp_path}/s", "http+avro://127.0.0.1:0/"]
    async with splnode.listen(endpoints, {PROTOCOL: Inventory()}) as server:
        tcp, unix, http = server.endpoints
        assert tcp.port > 0
        assert unix.path == f"{tmp_path}/s"
        assert http.port > 0
        for endpoint in server.endpoints:
            async with splnode.connect(endpoint, PROTOCOL) as client:
                assert await client.add(1, 2) == 3


async def test_a_port_in_use_is_an_error_even_of_ones_own() -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        with pytest.raises(ConfigError, match=f"{server.endpoints[0]}: the port is taken"):
            async with splnode.listen([server.endpoints[0]], {PROTOCOL: Inventory()}):
                pass
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            assert await client.add(1, 2) == 3


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:0", "tcp://[::]:0"])
async def test_off_loopback_only_on_ones_word(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="unencrypted and unknown"):
        async with splnode.listen([endpoint], {PROTOCOL: Inventory()}):
            pass


async def test_an_address_that_is_not_here() -> None:
    with pytest.raises(ConfigError, match=r"tcp://192\.0\.2\.1:1: cannot listen"):
        async with splnode.listen(["tcp://192.0.2.1:1"], {PROTOCOL: Inventory()}, insecure=True):
            pass


async def test_an_implementation_that_does_not_fit_binds_nothing(tmp_path: object) -> None:
    with pytest.raises(SchemaError, match="does not serve"):
        async with splnode.listen([f"unix://{tmp_path}/s"], {PROTOCOL: object()}):
            pass


async def test_pinned_to_one_framing(tmp_path: object) -> None:
    async with splnode.listen([f"unix://{tmp_path}/s?framing=spec"], {PROTOCOL: Inventory()}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            assert await client.add(1, 2) == 3
