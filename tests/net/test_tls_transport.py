"""splnode.net.tls_transport: what a protocol is told, and what the peer sees, on both loops."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from splnode.net.tls import Tls
from splnode.net.tls_transport import GREETING, TlsTransport
from tests.net.certificates import Mesh

SOON = 10.0
Script = Callable[[ssl.SSLSocket], object]


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


class Plain(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.data = b""
        self.told: list[str] = []
        self.keep = False
        self.changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._note("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.changed.set()

    def eof_received(self) -> bool:
        self._note("eof")
        return self.keep

    def connection_lost(self, exc: Exception | None) -> None:
        self._note(f"lost {type(exc).__name__}")

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def _note(self, what: str) -> None:
        self.told.append(what)
        self.changed.set()

    async def until(self, true: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(SOON):
                while not true():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"after {SOON:g} s it was told {self.told} and {len(self.data)} bytes") from None


class Buffered(Plain, asyncio.BufferedProtocol):
    """The same with a space of its own, which is small."""

    def __init__(self, size: int = 100) -> None:
        super().__init__()
        self.space = bytearray(size)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.space

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self.space[:nbytes]))


@contextlib.asynccontextmanager
async def linked(tls: Tls, protocol: Plain, client: Tls, script: Script) -> AsyncIterator[TlsTransport]:
    """Our end; what the other one does is the script's, in a thread."""
    ours, theirs = socket.socketpair()
    faults: list[BaseException] = []

    def run() -> None:
        try:
            with theirs:
                theirs.settimeout(SOON)
                with client.client().wrap_socket(theirs, server_hostname="localhost") as link:
                    script(link)
        except BaseException as error:  # noqa: BLE001 - it belongs to the test
            faults.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    link = TlsTransport(tls, lambda: protocol)
    ours.setblocking(False)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: link, ours)
    try:
        yield link
        if not faults:
            await asyncio.to_thread(thread.join, SOON)
        if faults:
            raise faults[0]
    finally:
        link.abort()
        await asyncio.to_thread(thread.join, SOON)


@pytest.mark.parametrize("kind", [Plain, Buffered])
async def test_what_goes_there_and_back(mesh: Mesh, kind: type[Plain]) -> None:
    protocol, large = kind(), bytes(range(256)) * 3000
    heard: list[bytes] = []

    def script(link: ssl.SSLSocket) -> None:
        link.sendall(large)
        while sum(map(len, heard)) < len(large) + 6:
            heard.append(link.recv(100_000))

    async with linked(mesh.tls("kitchen"), protocol, mesh.tls("cellar"), script) as link:
        await protocol.until(lambda: len(protocol.data) == len(large))
        assert protocol.data == large
        assert protocol.transport is link and link.get_protocol() is protocol
        assert link.get_extra_info("ssl_object").version() == "TLSv1.3"
        assert link.get_extra_info("sslcontext").mesh == "home"
        assert link.get_extra_info("socket") is not None
        link.write(b"")
        link.writelines([b"a", b"bc", large, bytearray(b"d"), memoryview(b"ef")])
    assert b"".join(heard) == b"abc" + large + b"def"
    await protocol.until(lambda: protocol.told[-1].startswith("lost"))


async def test_a_peer_that_has_ended_is_still_answered(mesh: Mesh) -> None:
    protocol = Plain()
    protocol.keep = True
    heard: list[str] = []

    def script(link: ssl.SSLSocket) -> None:
        link.sendall(b"question")
        try:
            link.unwrap()  # says close_notify, and waits for ours
        except ssl.SSLError as error:
            heard.append(error.reason)

    async with linked(mesh.tls("kitchen"), protocol, mesh.tls("cellar"), script) as link:
        await protocol.until(lambda: "eof" in protocol.told)
        assert protocol.data == b"question"
        assert not link.is_closing()
        link.write(b"answer")
        link.close()
    assert heard == ["APPLICATION_DATA_AFTER_CLOSE_NOTIFY"], "which is what we have answered"
    assert protocol.told.count("eof") == 1


async def test_our_end_is_said(mesh: Mesh) -> None:
    protocol = Plain()
    heard: list[bytes] = []

    def script(link: Any) -> None:
        link.suppress_ragged_eofs = False
        heard.append(link.recv(100))
        heard.append(link.recv(100))  # an error, where the end was not said

    async with linked(mesh.tls("kitchen"), protocol, mesh.tls("cellar"), script) as link:
        await link.shaken
        link.write(b"last")
        link.close()
        link.close()
        link.write(b"too late")
        assert link.is_closing() and not link.is_reading()
    assert heard == [b"last", b""]
    await protocol.until(lambda: "lost NoneType" in protocol.told)


@pytest.mark.parametrize("kind", [Plain, Buffered])
async def test_nothing_is_told_while_reading_is_paused(mesh: Mesh, kind: type[Plain]) -> None:
    class Pausing(kind):  # type: ignore[valid-type,misc]  # a class that the test is given
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    protocol, size = Pausing(), 50_000

    def script(link: ssl.SSLSocket) -> None:
        link.sendall(b"x" * size)
        link.unwrap()

    async with linked(mesh.tls("kitchen"), protocol, mesh.tls("cellar"), script) as link:
        await protocol.until(lambda: bool(protocol.data))
        while len(protocol.data) < size:
            assert not link.is_reading()
            before = len(protocol.data)
            assert "eof" not in protocol.told
            link.resume_reading()
            link.resume_reading()
            await protocol.until(lambda before=before: len(protocol.data) > before)
        link.resume_reading()
        await protocol.until(lambda: "eof" in protocol.told)


async def test_a_peer_that_does_not_read_pauses_the_protocol(mesh: Mesh) -> None:
    protocol, reads = Plain(), threading.Event()
    size = 4_000_000
    heard: list[int] = []

    def script(link: ssl.SSLSocket) -> None:
        reads.wait(SOON)
        while sum(heard) < size:
            heard.append(len(link.recv(1 << 20)))

    async with linked(mesh.tls("kitchen"), protocol, mesh.tls("cellar"), script) as link:
        await link.shaken
        link.set_write_buffer_limits(high=100_000)
        assert link.get_write_buffer_limits()[1] == 100_000
        link.write(b"x" * size)
        await protocol.until(lambda: "pause" in protocol.told)
        assert link.get_write_buffer_size() > 100_000
        reads.set()
        await protocol.until(lambda: "resume" in protocol.told)
    assert sum(heard) == size


async def test_what_is_no_tls_in_the_middle_is_an_end(mesh: Mesh) -> None:
    protocol = Plain()

    def script(link: ssl.SSLSocket) -> None:
        link.sendall(b"good")
        sock = socket.socket(fileno=socket.dup(link.fileno()))
        with sock:
            sock.settimeout(SOON)
            sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            with contextlib.suppress(OSError):
                while sock.recv(100):  # an end with something unread would be a reset
                    pass

    async with linked(mesh.tls("kitchen"), protocol, mesh.tls("cellar"), script):
        await protocol.until(lambda: "lost SSLError" in protocol.told)
        assert protocol.data == b"good"


class TestRefused:
    async def test_the_peer_hears_why(self, mesh: Mesh) -> None:
        protocol, said = Plain(), []

        def script(link: ssl.SSLSocket) -> None:
            link.sendall(b"TLS 1.3 lets the client speak before it is refused" * 100)
            try:
                link.recv(100)
            except ssl.SSLError as error:
                said.append(error.reason)

        server = mesh.tls("kitchen", mutual="on")
        async with linked(server, protocol, mesh.believer(), script) as link:
            with pytest.raises(ssl.SSLError, match="peer did not return a certificate"):
                await link.shaken
            await asyncio.wait_for(link.lost, SOON)
        assert said == ["TLSV13_ALERT_CERTIFICATE_REQUIRED"]
        assert protocol.told == []

    async def test_one_that_goes_is_an_error_too(self, mesh: Mesh) -> None:
        ours, theirs = socket.socketpair()
        link = TlsTransport(mesh.tls("kitchen"), Plain)
        ours.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: link, ours)
        theirs.close()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(link.shaken, SOON)
        await asyncio.wait_for(link.lost, SOON)

    @pytest.mark.parametrize("several", [False, True])
    async def test_a_handshake_without_an_end(self, mesh: Mesh, several: bool) -> None:
        """TLS itself would keep 128 kB of each. Nothing goes on, and nothing more is kept."""
        more = str(Mesh(mesh.folder.parent, "away").certificate("shop"))
        tls = Tls(certificate=str(mesh.certificate("kitchen")), certificates=[more] if several else [])
        ours, theirs = socket.socketpair()
        link = TlsTransport(tls, Plain)
        ours.setblocking(False)
        with theirs:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: link, ours)
            theirs.settimeout(SOON)
            hello = b"\x01\x01\xff\xff" + bytes(GREETING)
            for place in range(0, len(hello), 4096):
                part = hello[place : place + 4096]
                await asyncio.to_thread(theirs.sendall, b"\x16\x03\x01" + len(part).to_bytes(2) + part)
            with pytest.raises(OSError, match=f"no end within {GREETING} bytes"):
                await asyncio.wait_for(link.shaken, SOON)
            assert await asyncio.to_thread(theirs.recv, 1) == b""
        await asyncio.wait_for(link.lost, SOON)
