import asyncio
import socket
from pathlib import Path

import pytest

import splnode
from splnode.access.tokens import Tokens
from splnode.avro.protocol import Protocol
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, ConfigError, SchemaError
from splnode.net.bind import SILENCE
from splnode.net.listener import Listener
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.directory import Directory
from tests.net.certificates import Mesh
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


async def test_plain_beside_tls_only_on_ones_word(tmp_path: Path) -> None:
    tls = Mesh(tmp_path).tls("kitchen", plain="both")
    with pytest.raises(ConfigError, match=r'tls\.plain = "both" lets other hosts connect unencrypted'):
        async with splnode.listen(["tcp://0.0.0.0:0"], {PROTOCOL: Inventory()}, tls=tls):
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


def count(folder: Path | str) -> int:
    return len(list(Path(folder).iterdir()))


def a_listener() -> Listener:
    server = Server(PROTOCOL, Inventory())
    return Listener(Router({PROTOCOL.name: server}), Directory([server.contract]))


async def test_a_name_with_two_addresses_has_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    async def two(*args: object, **options: object) -> object:
        return [(socket.AF_INET, 0, 0, "", (host, 0)) for host in ("127.0.0.1", "127.0.0.2")]

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(type(loop), "getaddrinfo", two)
    listener = a_listener()
    endpoint = await listener.open(Endpoint.parse("tcp://localhost:0"))
    monkeypatch.undo()
    assert listener.endpoints == [endpoint]
    for host in ("127.0.0.1", "127.0.0.2"):
        async with splnode.connect(Endpoint("tcp", host, endpoint.port), PROTOCOL) as client:
            assert await client.add(1, 2) == 3
    await listener.close()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.2", endpoint.port)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:0", "unix://{}/s"])
async def test_what_fails_between_binding_and_accepting_leaves_nothing(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: object, **options: object) -> object:
        raise OSError(24, "Too many open files")

    listener = a_listener()
    loop = asyncio.get_running_loop()
    before = count("/proc/self/fd")
    monkeypatch.setattr(type(loop), "add_reader", failing)
    with pytest.raises(ConfigError, match="Too many open files"):
        await listener.open(Endpoint.parse(endpoint.format(tmp_path)))
    assert count("/proc/self/fd") == before
    assert count(tmp_path) == 0
    assert listener.endpoints == []
    await listener.close()


async def test_closed_it_stays_closed(tmp_path: Path) -> None:
    listener = a_listener()
    await listener.open(Endpoint.parse(f"unix://{tmp_path}/s"))
    listener.stop_accepting()
    assert count(tmp_path) == 0
    with pytest.raises(ConfigError, match="this listener is closed"):
        await listener.open(Endpoint.parse("tcp://127.0.0.1:0"))
    await listener.close()
    await listener.close()


async def test_a_socket_file_of_another_is_left_alone(tmp_path: Path) -> None:
    listener = a_listener()
    path = tmp_path / "s"
    await listener.open(Endpoint.parse(f"unix://{path}"))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        await listener.close()
        assert path.exists()


async def test_what_is_no_name_of_a_host() -> None:
    for host in ("a" * 64 + ".com", "no.such.host.invalid"):
        with pytest.raises(ConfigError, match="cannot listen"):
            async with splnode.listen([Endpoint("tcp", host, 1)], {PROTOCOL: Inventory()}, insecure=True):
                pass


async def test_two_services_of_one_name() -> None:
    again = Protocol.parse(PROTOCOL.text + " ")
    with pytest.raises(ConfigError, match=r"2 services have 1 names: com\.acme\.Inventory"):
        async with splnode.listen([], {PROTOCOL: Inventory(), again: Inventory()}):
            pass


async def test_accepted_sockets_send_at_once_and_notice_a_host_that_has_gone() -> None:
    async with splnode.listen(["tcp://127.0.0.1:0"], {PROTOCOL: Inventory()}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            assert await client.add(1, 2) == 3
            (line,) = server._listener.host.connections
            sock = line._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # a ServerConnection
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # else small answers wait for each other
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == SILENCE


POLICY = """
[[rule]]
who = ["*"]
deny = ["{message}"]

[[rule]]
who = ["*"]
allow = ["*"]
"""


async def test_a_guard_says_who_may_call_what(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY.format(message="*.add"))
    guard = splnode.Guard(splnode.read_policy(policy))
    endpoints = ["tcp://127.0.0.1:0", f"unix://{tmp_path}/s", "http+avro://127.0.0.1:0/"]
    async with splnode.listen(endpoints, {PROTOCOL: Inventory()}, guard=guard) as server:
        for endpoint in server.endpoints:
            async with splnode.connect(endpoint, PROTOCOL) as client:
                with pytest.raises(CallError, match=r"may not call .*\.add") as denied:
                    await client.add(1, 2)
                assert denied.value.code is Code.PERMISSION_DENIED
                assert not denied.value.started
        policy.write_text(POLICY.format(message="*.other"))
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            guard.replace(splnode.read_policy(policy), Tokens())
            assert await client.add(1, 2) == 3


async def test_without_a_guard_there_is_no_policy(tmp_path: Path) -> None:
    async with splnode.listen([f"unix://{tmp_path}/s"], {PROTOCOL: Inventory()}) as server:
        async with splnode.connect(server.endpoints[0], PROTOCOL) as client:
            assert await client.add(1, 2) == 3
