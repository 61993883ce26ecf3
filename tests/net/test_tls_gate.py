"""splnode.net.tls_gate: who comes to a port that speaks TLS, on both loops; splnode, and others."""

import asyncio
import errno
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

import splnode
from splnode.avro.protocol import Protocol
from splnode.endpoint import Endpoint
from splnode.errors import CallError, ConfigError
from splnode.limits import Limits
from splnode.net import accepting, tls_gate
from splnode.net.host import Host
from splnode.net.tls import Tls
from tests.net.certificates import Mesh, mesh_key
from tests.net.test_tls_hello import with_name
from tests.require import require

ECHO = Protocol.parse(
    '{"protocol": "Echo", "messages": {"echo": {"request": [{"name": "x", "type": "bytes"}], "response": "bytes"}}}'
)


def hosts_of_gates(monkeypatch: pytest.MonkeyPatch) -> list[Host]:
    """The hosts of all gates that are opened from now on."""
    hosts: list[Host] = []

    class Seen(tls_gate.Gate):
        def __init__(self, listening: Any, tls: Any, host: Host, connection: Any) -> None:
            super().__init__(listening, tls, host, connection)
            hosts.append(host)

    monkeypatch.setattr("splnode.net.listener.Gate", Seen)
    return hosts


class Echo:
    async def echo(self, x: bytes) -> bytes:
        await asyncio.sleep(0)
        return x


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


@asynccontextmanager
async def serving(tls: Tls | None, text: str = "tls://127.0.0.1:0", **settings: Any) -> AsyncIterator[Endpoint]:
    async with splnode.listen([text], {ECHO: Echo()}, tls=tls, **settings) as server:
        yield server.endpoints[0]


async def echo(endpoint: Endpoint, tls: Tls | None, x: bytes = b"hello") -> Any:
    async with splnode.connect(endpoint, ECHO, tls=tls) as client:
        return await client.echo(x=x)


def blocking_echo(endpoint: Endpoint, tls: Tls | None, x: bytes = b"hello") -> Any:
    with splnode.sync.connect(endpoint, ECHO, tls=tls) as client:
        return client.echo(x=x)


async def said(endpoint: Endpoint, tls: Tls | None) -> list[str]:
    """What a client that awaits and one that blocks say of why they cannot call."""
    texts = []
    for blocks in (False, True):
        with pytest.raises(CallError) as caught:
            await (asyncio.to_thread(blocking_echo, endpoint, tls) if blocks else echo(endpoint, tls))
        assert caught.value.started is False
        texts.append(caught.value.message)
    return texts


@pytest.mark.parametrize("where", ["tls://127.0.0.1:0", "tls://[::1]:0?framing=spec", "https+avro://127.0.0.1:0/Echo"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
async def test_calls_of_all_framings_and_sizes(mesh: Mesh, where: str, version: str, size: int) -> None:
    client = mesh.tls("cellar")
    if version == "1.2":
        client.client().maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(mesh.tls("kitchen"), where) as endpoint:
        assert await echo(endpoint, client, b"x" * size) == b"x" * size
        assert await asyncio.to_thread(blocking_echo, endpoint, client, b"x" * size) == b"x" * size


async def test_many_calls_at_a_time_keep_their_order_of_bytes(mesh: Mesh) -> None:
    async with (
        serving(mesh.tls("kitchen")) as endpoint,
        splnode.connect(endpoint, ECHO, tls=mesh.tls("cellar")) as client,
    ):
        sizes = [size * 317 % 50_000 for size in range(400)]
        answers = await asyncio.gather(*(client.echo(x=b"%d " % size * (size // 4)) for size in sizes))
        assert answers == [b"%d " % size * (size // 4) for size in sizes]


async def test_a_mesh_key_is_all_that_is_needed(tmp_path: Path) -> None:
    key = mesh_key(tmp_path)
    server, client = Tls(mesh_key=key, node="kitchen", mutual="on"), Tls(mesh_key=key, node="cellar")
    async with serving(server) as endpoint:
        assert await echo(endpoint.replace(node="kitchen"), client) == b"hello"
        for text in await said(endpoint.replace(node="attic"), client):
            assert "it is kitchen, and should be attic" in text
        for text in await said(endpoint, Tls(mesh_key=mesh_key(tmp_path, "other.key"))):
            assert "of an authority that is not ours" in text


async def test_nothing_is_said_to_the_wrong_one(mesh: Mesh) -> None:
    """Not even a handshake of Avro: what comes first may be a token."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> bytes:
            sock, _ = listening.accept()
            with sock:
                try:
                    with mesh.tls("kitchen").server().wrap_socket(sock, server_side=True) as link:
                        return link.recv(1000)
                except OSError:  # it was cut off in the middle
                    return b""

        heard = asyncio.create_task(asyncio.to_thread(listen))
        endpoint = Endpoint("tls", "127.0.0.1", listening.getsockname()[1], node="attic")
        with pytest.raises(CallError, match="should be attic"):
            await echo(endpoint, mesh.tls("cellar"))
        assert await heard == b""


class TestRefusals:
    async def test_each_says_why(self, mesh: Mesh, tmp_path: Path) -> None:
        away = Mesh(tmp_path, "away")
        mesh.certificate("old", days=1, begins=-3)
        mesh.certificate("young", begins=3)
        for server, client, words in (
            (mesh.tls("old"), mesh.tls("cellar"), "its certificate has expired"),
            (mesh.tls("young"), mesh.tls("cellar"), "its certificate is not valid yet"),
            (
                away.tls("kitchen"),
                mesh.tls("cellar"),
                "of an authority that is not ours: give its certificate with --ca",
            ),
            (mesh.tls("kitchen"), None, "of an authority that is not ours"),
            (
                mesh.tls("kitchen", mutual="on"),
                mesh.believer(),
                "it wants a certificate of ours: give one with --cert or --mesh-key",
            ),
        ):
            async with serving(server) as endpoint:
                texts = await said(endpoint, client)
                assert all(str(endpoint) in text and words in text for text in texts), texts
                assert ("(it is good from 2" in texts[1]) == ("expired" in words or "valid yet" in words)

    async def test_the_server_says_why_in_its_log(self, mesh: Mesh, tmp_path: Path) -> None:
        with capture_logs() as logs:
            async with serving(mesh.tls("kitchen", mutual="on")) as endpoint:
                await said(endpoint, mesh.believer())
                mesh.certificate("old", days=1, begins=-3)
                await said(endpoint, mesh.tls("old"))
        reasons = [each["reason"] for each in logs if each["event"] == "TLS handshake failed"]
        assert any("peer did not return a certificate" in reason for reason in reasons)
        assert any("its certificate has expired" in reason for reason in reasons)

    async def test_who_floods_it_does_not_flood_the_log(self, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
        """A line at once, and then one in a while with how often it was; the metric has them all."""
        hosts = hosts_of_gates(monkeypatch)
        with capture_logs() as logs:
            async with serving(mesh.tls("kitchen")) as endpoint:
                for first in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x01\xff") * 20:
                    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
                    writer.write(first)
                    writer.write_eof()
                    with suppress(ConnectionResetError):
                        await asyncio.wait_for(reader.read(), 20)
                    writer.close()
                await until(lambda: hosts[0].unshaken.total() == 40)
        assert hosts[0].unshaken["plain"] == 20
        assert len(logs) == len({each["reason"] for each in logs}) <= 3
        assert {each["times"] for each in logs} == {1}

    async def test_plain_to_tls(self, mesh: Mesh) -> None:
        with capture_logs() as logs:
            async with serving(mesh.tls("kitchen")) as endpoint:
                for text in await said(endpoint.replace(scheme="tcp"), None):
                    assert "this port speaks TLS: call it by tls://" in text
        assert {each["reason"] for each in logs} == {"it speaks no TLS, and this port speaks nothing else"}

    async def test_tls_to_plain(self, mesh: Mesh) -> None:
        with capture_logs() as logs:
            async with serving(None, "tcp://127.0.0.1:0") as endpoint:
                for text in await said(endpoint.replace(scheme="tls"), mesh.tls("cellar")):
                    assert "either it speaks no TLS (use tcp://)" in text
        assert "it speaks TLS, and this port does not" in logs[0]["reason"]

    async def test_http_to_https(self, mesh: Mesh) -> None:
        async with serving(mesh.tls("kitchen"), "https+avro://127.0.0.1:0/") as endpoint:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await reader.read()
            writer.close()
        assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"this port speaks TLS: use https://\n")

    async def test_no_certificate_no_tls(self, mesh: Mesh) -> None:
        for tls in (None, mesh.believer()):
            with pytest.raises(ConfigError, match=r"TLS needs a certificate \(--cert"):
                async with serving(tls):
                    pass

    async def test_plain_for_others_needs_insecure(self, mesh: Mesh) -> None:
        for tls in (None, mesh.tls("kitchen", plain="both")):
            with pytest.raises(ConfigError, match=r"--insecure \(node.insecure = true\)"):
                async with serving(tls, "tcp://0.0.0.0:0"):
                    pass
        async with serving(mesh.tls("kitchen"), "tcp://0.0.0.0:0") as endpoint:
            assert endpoint.is_secure


async def test_both_on_one_port_where_that_is_asked(mesh: Mesh) -> None:
    async with serving(mesh.tls("kitchen", plain="both")) as endpoint:
        assert await echo(endpoint, mesh.tls("cellar")) == b"hello"
        plain = endpoint.replace(scheme="tcp")
        assert await echo(plain, None) == await asyncio.to_thread(blocking_echo, plain, None) == b"hello"
        assert await echo(Endpoint("http+avro", plain.host, plain.port, "/Echo", framing="http"), None) == b"hello"


async def test_certificates_change_under_load_and_no_call_fails(mesh: Mesh) -> None:
    server, client = mesh.tls("kitchen"), mesh.tls("cellar")
    done = 0

    async def load(endpoint: Endpoint) -> None:
        nonlocal done
        while done < 120:
            done += 1
            text = b"x" * done
            assert await echo(endpoint, client, text) == text

    async with serving(server) as endpoint, splnode.connect(endpoint, ECHO, tls=client) as lasting:
        first = server.server()
        tasks = [asyncio.create_task(load(endpoint)) for _ in range(4)]
        for days in range(100, 120):
            mesh.certificate("kitchen", days=days)
            mesh.certificate("cellar", days=days)
            server._look_at = client._look_at = 0.0
            await lasting.echo(x=b"the old connection")
        await asyncio.gather(*tasks)
        assert server.server() is not first
        shown = await peer_certificate(endpoint, client)
        assert ssl.cert_time_to_seconds(shown["notAfter"]) == server.expires


async def test_the_host_name_is_told_and_an_address_is_not(mesh: Mesh) -> None:
    """Server Name Indication has names alone. (RFC 6066, 3)"""
    server, told = mesh.tls("kitchen"), []
    server.server().sni_callback = lambda link, name, context: told.append(name)
    async with serving(server, "tls://localhost:0") as endpoint:
        for where in (endpoint, endpoint.replace(host="127.0.0.1")):
            assert await echo(where, mesh.tls("cellar")) == b"hello"
            assert await asyncio.to_thread(blocking_echo, where, mesh.tls("cellar")) == b"hello"
    assert told == ["localhost", "localhost", None, None]


class TestSeveralCertificates:
    """The one that the client asks for; the first for all others. (RFC 6066, 3)"""

    @pytest.fixture
    def server(self, mesh: Mesh, tmp_path: Path) -> Tls:
        shop = str(Mesh(tmp_path, "away").certificate("shop", ("shop.example.org",)))
        return Tls(certificate=str(mesh.certificate("kitchen")), certificates=[shop])

    async def test_openssl(self, server: Tls, tmp_path: Path) -> None:
        require(shutil.which("openssl") is not None, "openssl", "apt-get install openssl")
        async with serving(server) as endpoint:
            for name, node in (
                (("-servername", "shop.example.org"), b"shop"),
                (("-servername", "SHOP.example.org"), b"shop"),
                (("-servername", "no.where"), b"kitchen"),
                (("-noservername",), b"kitchen"),
            ):
                said = await run("openssl", "s_client", "-connect", f"127.0.0.1:{endpoint.port}", *name)
                assert re.findall(rb"subject=CN ?= ?(\w+)", said) == [node]

    async def test_curl(self, server: Tls, tmp_path: Path) -> None:
        require(shutil.which("curl") is not None, "curl", "apt-get install curl")
        async with serving(server, "https+avro://127.0.0.1:0/") as endpoint:
            for name, mesh in (("shop.example.org", "away"), ("localhost", "home")):
                where = ("--resolve", f"{name}:{endpoint.port}:127.0.0.1", f"https://{name}:{endpoint.port}/nothing")
                trusted = ("--cacert", str(tmp_path / mesh / "authority.pem"))
                assert await run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *trusted, *where) == b"405"

    async def test_a_client_of_our_own_by_name(self, mesh: Mesh, tmp_path: Path) -> None:
        """Who looks at host names sees the one for it; a node of the mesh, which comes by address, the mesh's."""
        away = Mesh(tmp_path, "away")
        shop = str(away.certificate("shop", ("localhost",)))
        public = Tls()
        public.client().load_verify_locations(str(away.ca))
        server = Tls(certificate=str(mesh.certificate("kitchen", ())), certificates=[shop])
        async with serving(server, "tls://localhost:0") as endpoint:
            assert await echo(endpoint, public) == await asyncio.to_thread(blocking_echo, endpoint, public) == b"hello"
            address = endpoint.replace(host="127.0.0.1")
            assert await echo(address, mesh.tls("cellar")) == b"hello"
            assert await asyncio.to_thread(blocking_echo, address, mesh.tls("cellar")) == b"hello"

    @pytest.mark.parametrize(
        "name", [b"b\xc3\xbccher.example", b"x" * 300, b"\0.example", b"..", b"", b"*.example.org"]
    )
    async def test_odd_names_are_heard_in_silence(
        self, server: Tls, mesh: Mesh, capfd: pytest.CaptureFixture[str], name: bytes
    ) -> None:
        async with serving(server) as endpoint:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            writer.write(with_name(name))
            assert (await asyncio.wait_for(reader.read(1), 20))[:1] in (b"\x15", b"\x16")
            writer.close()
            assert await echo(endpoint, mesh.tls("cellar")) == b"hello"
        assert "Traceback" not in capfd.readouterr().err


async def peer_certificate(endpoint: Endpoint, client: Tls) -> dict[str, Any]:
    _, writer = await asyncio.open_connection(
        endpoint.host, endpoint.port, ssl=client.client(), server_hostname="localhost"
    )
    shown: dict[str, Any] = writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    return shown


class TestHandshakesThatDoNotEnd:
    @pytest.mark.parametrize("first", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
    async def test_they_have_their_time_and_no_more(self, mesh: Mesh, first: bytes) -> None:
        limits = Limits(handshake_seconds=0.2)
        async with serving(mesh.tls("kitchen"), limits=limits) as endpoint:
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
            writer.write(first)
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 20) == b""
            writer.close()
            assert await echo(endpoint, mesh.tls("cellar")) == b"hello"

    async def test_one_that_has_gone_leaves_nothing(self, mesh: Mesh) -> None:
        listening = asyncio.get_running_loop().create_future()

        class Seen(tls_gate.Gate):
            def __init__(self, *given: Any) -> None:
                super().__init__(*given)
                listening.set_result(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("splnode.net.listener.Gate", Seen)
            async with serving(mesh.tls("kitchen")) as endpoint:
                gate: Any = await listening
                for first in (b"", b"\x16\x03"):
                    _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
                    writer.write(first)
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
                assert await echo(endpoint, mesh.tls("cellar")) == b"hello"
                await until(lambda: not gate._knocks)
                assert len(gate._host.connections) <= 1  # the last one is going

    async def test_closing_ends_them(self, mesh: Mesh) -> None:
        async with serving(mesh.tls("kitchen")) as endpoint:
            held = [await asyncio.open_connection(endpoint.host, endpoint.port) for _ in range(5)]
            held[0][1].write(b"\x16\x03\x01")
            await asyncio.sleep(0)
        for reader, writer in held:
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 20) == b""
            writer.close()

    async def test_many_of_them_make_room_for_who_is_honest(self, mesh: Mesh) -> None:
        """Those that have been there longest go. (limits.handshakes; see splnode.net.places)"""
        with capture_logs() as logs:
            async with serving(mesh.tls("kitchen"), limits=Limits(handshakes=5, handshake_seconds=30)) as endpoint:
                held = [await asyncio.open_connection(endpoint.host, endpoint.port) for _ in range(20)]
                for reader, writer in held[:10]:
                    with suppress(ConnectionResetError):
                        assert await asyncio.wait_for(reader.read(), 20) == b""
                    writer.close()
                assert await echo(endpoint, mesh.tls("cellar")) == b"hello"
                for _, writer in held[10:]:
                    writer.close()
        assert any(each.get("limit") == "handshakes" for each in logs)

    @pytest.mark.parametrize("first", ["hello", "part", "parts", "certificate"])
    async def test_what_they_make_the_node_keep_is_bounded(
        self, mesh: Mesh, monkeypatch: pytest.MonkeyPatch, first: str
    ) -> None:
        """TLS takes some 48 kB for each, and 128 kB more for a message of which it has seen no more than the length.
        Those that have been at it longest go. (limits.held_bytes)"""
        hosts = hosts_of_gates(monkeypatch)
        limits = Limits(held_bytes=1 << 20, handshake_seconds=60)
        spy = mesh.tls("spy")
        with capture_logs() as logs:
            async with serving(mesh.tls("kitchen"), limits=limits) as endpoint:
                held = [await asyncio.to_thread(begun, endpoint, spy, first) for _ in range(60)]
                assert await echo(endpoint, mesh.tls("cellar")) == b"hello"
                (host,) = hosts
                dropped = host.reached.counts
                await until(lambda: dropped["held_bytes"] >= {"hello": 9, "certificate": 50}.get(first, 0))
                assert host.shaking.total <= limits.held_bytes
                for sock in held:
                    sock.close()
                await until(lambda: host.shaking.total == 0)
        assert len([each for each in logs if each.get("limit") == "held_bytes"]) == (first in ("hello", "certificate"))

    async def test_no_descriptors_left_is_a_pause(self, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(accepting, "REST", 0.01)
        accept, failures = socket.socket.accept, [OSError(errno.EMFILE, "Too many open files")] * 2

        def fails(sock: socket.socket) -> Any:
            if failures:
                raise failures.pop()
            return accept(sock)

        monkeypatch.setattr(socket.socket, "accept", fails)
        with capture_logs() as logs:
            async with serving(mesh.tls("kitchen")) as endpoint:
                assert await echo(endpoint, mesh.tls("cellar")) == b"hello"
        assert [each["reason"] for each in logs if "moment" in each["event"]] == ["Too many open files"] * 2


def begun(endpoint: Endpoint, tls: Tls, how: str) -> socket.socket:
    """A connection with a handshake that goes so far: nearly a hello, a hello in parts, a hello, half a certificate."""
    come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
    link = tls.client().wrap_bio(come, go)
    sock = socket.create_connection((endpoint.host, endpoint.port), timeout=10)
    with suppress(ssl.SSLWantReadError):
        link.do_handshake()
    hello = go.read()
    if how == "part":  # no more than that it will be long
        sock.sendall(bytes.fromhex("16 0301 0004 01 01ffff"))
    elif how == "parts":
        sock.sendall(hello[:-1])
    else:
        sock.sendall(hello)
    while how == "certificate":
        come.write(sock.recv(65_536))
        with suppress(ssl.SSLWantReadError):
            link.do_handshake()
            sock.sendall(go.read(700))
            break
    return sock


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)  # clock: sockets end when the kernel says so


class TestOtherPeople:
    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    async def test_openssl(self, mesh: Mesh, version: str) -> None:
        require(shutil.which("openssl") is not None, "openssl", "apt-get install openssl")
        async with serving(mesh.tls("kitchen", mutual="on")) as endpoint:
            said = await run(
                "openssl", "s_client", "-connect", f"127.0.0.1:{endpoint.port}", version, "-CAfile", str(mesh.ca),
                "-cert", str(mesh.certificate("cellar")), "-key", str(mesh.folder / "cellar.key"),
                "-verify_return_error", "-servername", "localhost", "-ign_eof",
                stdin=b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            )  # fmt: skip
        assert b"Verify return code: 0 (ok)" in said and b"HTTP/1.1 405" in said
        assert b"URI:spiffe" in said or b"CN = kitchen" in said or b"CN=kitchen" in said

    async def test_openssl_with_a_version_that_is_too_old(self, mesh: Mesh) -> None:
        require(shutil.which("openssl") is not None, "openssl", "apt-get install openssl")
        async with serving(mesh.tls("kitchen")) as endpoint:
            said = await run(
                "openssl", "s_client", "-connect", f"127.0.0.1:{endpoint.port}", "-tls1_1",
                "-cipher", "DEFAULT:@SECLEVEL=0",
            )  # fmt: skip
        assert b"Cipher is (NONE)" in said or b"no protocols available" in said

    async def test_curl(self, mesh: Mesh) -> None:
        require(shutil.which("curl") is not None, "curl", "apt-get install curl")
        async with serving(mesh.tls("kitchen"), "https+avro://127.0.0.1:0/") as endpoint:
            url = f"https://localhost:{endpoint.port}/nothing"
            good = await run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(mesh.ca), url)
            bad = await run("curl", "-sS", url)
        assert good == b"405"
        assert b"SSL certificate problem" in bad


async def run(*command: str, stdin: bytes = b"") -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(stdin), 20)
    finally:
        if process.returncode is None:
            process.kill()
    return said
