"""splnode.net.tls_stream: a blocking stream over TLS, against the standard library's own."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splnode.endpoint import Endpoint
from splnode.errors import CallError
from splnode.net.stream import Stream, dial
from splnode.net.tls import Tls
from splnode.net.tls_stream import TlsStream, secured
from tests.net.certificates import Mesh

SOON = 10.0


def soon() -> float:
    return time.monotonic() + SOON


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


@contextlib.contextmanager
def peer(tls: Tls, script: Callable[[ssl.SSLSocket], object]) -> Iterator[socket.socket]:
    """Our end of a connection whose other end does what the script says, in a thread."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, contextlib.suppress(OSError), tls.server().wrap_socket(theirs, server_side=True) as link:
            script(link)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield ours
    finally:
        ours.close()
        thread.join(SOON)


def connect(sock: socket.socket, tls: Tls) -> TlsStream:
    return secured(Stream(sock), Endpoint("tls", "localhost", 1), tls, soon())


def receive(stream: Stream, size: int) -> bytes:
    found = b""
    while len(found) < size:
        data = stream.receive(soon())
        assert data
        found += data
    return found


def test_what_tls_says_of_itself_is_quiet(mesh: Mesh) -> None:
    """TLS 1.3 sends session tickets behind the handshake: they are no answer."""
    spoken = threading.Event()

    def script(link: ssl.SSLSocket) -> None:
        link.sendall(b"a")
        spoken.wait(SOON)
        link.sendall(b"b")
        link.recv(1)

    with peer(mesh.tls("kitchen"), script) as sock:
        stream = connect(sock, mesh.tls("cellar"))
        assert stream.ssl_object.version() == "TLSv1.3"
        assert receive(stream, 1) == b"a"
        assert stream.quiet()
        spoken.set()
        assert receive(stream, 1) == b"b"
        assert stream.descriptor == -1
        stream.close()


def test_both_write_much_and_neither_waits_for_ever(mesh: Mesh) -> None:
    size = 4_000_000

    def script(link: ssl.SSLSocket) -> None:
        link.sendall(b"s" * size)
        left = size
        while left and (data := link.recv(65_536)):
            left -= len(data)
        link.sendall(b"all" if not left else b"no!")
        link.recv(1)

    with peer(mesh.tls("kitchen"), script) as sock:
        stream, came = connect(sock, mesh.tls("cellar")), bytearray()
        stream.send([b"c" * (size // 2)] * 2, soon(), came.extend)
        while len(came) < size + 3:
            came += stream.receive(soon())
        assert came[:size] == b"s" * size and came[size:] == b"all"
        stream.close()


@pytest.mark.parametrize("polite", [True, False])
def test_the_end_is_the_end(mesh: Mesh, polite: bool) -> None:
    def script(link: ssl.SSLSocket) -> None:
        link.sendall(b"x")
        if polite:
            link.unwrap()
        else:
            link.shutdown(socket.SHUT_RDWR)

    with peer(mesh.tls("kitchen"), script) as sock:
        stream = connect(sock, mesh.tls("cellar"))
        assert receive(stream, 1) == b"x"
        assert stream.receive(soon()) == b""
        assert not stream.quiet()
        stream.close()


def test_we_end_politely(mesh: Mesh) -> None:
    heard: list[object] = []

    def script(link: Any) -> None:
        link.suppress_ragged_eofs = False
        heard.append(link.recv(10))

    with peer(mesh.tls("kitchen"), script) as sock:
        connect(sock, mesh.tls("cellar")).close()
    assert heard == [b""], "without close_notify this is an error: somebody may have cut the line"


def test_a_handshake_that_does_not_end_has_a_deadline(mesh: Mesh) -> None:
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(TimeoutError):
        secured(Stream(ours), Endpoint("tls", "localhost", 1), mesh.tls("cellar"), time.monotonic() + 0.05)
    assert ours.fileno() == -1


def test_dial_names_who_took_too_long(mesh: Mesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = Endpoint("tls", "127.0.0.1", listening.getsockname()[1])
        with pytest.raises(CallError, match=r"no TLS handshake within 0\.5 s"):  # connecting is in it
            dial(endpoint, time.monotonic() + 0.5, 0.5, mesh.tls("cellar"))


def test_the_wrong_one_is_told_from_the_right_one(mesh: Mesh) -> None:
    with peer(mesh.tls("kitchen"), lambda link: link.recv(1)) as sock:
        endpoint = Endpoint("tls", "localhost", 1, node="attic")
        with pytest.raises(CallError, match="it is kitchen, and should be attic"):
            secured(Stream(sock), endpoint, mesh.tls("cellar"), soon())
        assert sock.fileno() == -1
