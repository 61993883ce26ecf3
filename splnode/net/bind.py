"""Binding sockets: exclusively, with the right permissions, and with errors that say what to do."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from splnode.endpoint import Endpoint
from splnode.errors import ConfigError

UNIX_PATH: Final = 107
"""Bytes of a Unix socket's path (unix(7): sun_path, less its final zero)."""
LOCK_SECONDS: Final = 2.0
"""How long the start of another node in the same folder is waited for."""
ATTEMPTS: Final = 8
"""Ports that are tried where the system may choose one, and it must be free on several addresses."""

SILENCE: Final = 120
"""Seconds without a byte after which a peer's host is asked whether it is there: twice what our clients' pings take."""
PROBE_EVERY: Final = 20
"""Seconds between two such questions."""
PROBES: Final = 4
"""Questions without an answer after which the connection is gone."""

Address = tuple[int, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""Family and socket address, as getaddrinfo gives them."""


def bind_unix(endpoint: Endpoint) -> socket.socket:
    """A listening socket, readable and writable for user and group alone; a file left by a dead node is replaced.

    Of two nodes that want the same path at the same moment one gets it; ConfigError for the other, and for a path that
    cannot be used. Blocks shortly. Whoever calls closes it, and removes its file (`unlink_own`).
    """
    path = Path(endpoint.path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{endpoint}: its directory cannot be made: {error.strerror}") from error
    with _alone(path.parent):
        _remove_stale(endpoint, path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o117)
        try:
            sock.bind(endpoint.path)
            sock.listen()  # before that it looks like one whose node is dead
        except OSError as error:
            sock.close()
            raise ConfigError(bind_error(endpoint, error)) from error
        finally:
            os.umask(before)
    return sock


def bind_tcp(endpoint: Endpoint, addresses: Iterable[Address]) -> list[socket.socket]:
    """Listening sockets on all `addresses` of the endpoint's host that this machine has, and on the same port of each.

    Port 0 lets the system choose it. A port that anybody listens on is a ConfigError. Whoever calls closes them.
    """
    found = list(dict.fromkeys(addresses))
    for left in reversed(range(ATTEMPTS)):
        try:
            return _bind_all(found, endpoint.port)
        except OSError as error:
            if endpoint.port or error.errno != errno.EADDRINUSE or not left:
                raise ConfigError(bind_error(endpoint, error)) from error
    raise AssertionError("the last attempt raises")


def share_tcp(endpoint: Endpoint, addresses: Iterable[Address]) -> list[socket.socket]:
    """One more listening socket on each of `addresses`, port included, beside those of this user that are shared.

    All of them have SO_REUSEPORT; ConfigError where one has not, or another user listens. Whoever calls closes them.
    """
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            sockets.append(_bind_one(family, address, shared=True))
    except BaseException as error:
        for sock in sockets:
            sock.close()
        if isinstance(error, OSError):
            raise ConfigError(bind_error(endpoint, error)) from error
        raise
    return sockets


def _bind_all(addresses: list[Address], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in addresses:
            try:
                sockets.append(_bind_one(family, (address[0], port, *address[2:])))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error  # localhost is ::1 too in many a file, and IPv6 is switched off
            else:
                port = port or sockets[0].getsockname()[1]
        if not sockets:
            raise absent or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind_one(family: int, address: tuple[object, ...], *, shared: bool = False) -> socket.socket:
    # TCP is named: asyncio leaves Nagle's algorithm on where it is not.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not two that listen: only after one has ended
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _probe_silent_peers(sock)
        sock.bind(address)
        sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock


def _probe_silent_peers(sock: socket.socket) -> None:
    """The kernel looks after connections on which nothing comes: a peer whose host has gone does not stay for ever.

    The server has no ping of its own in Avro. Accepted sockets take the options over. (tcp(7); socket(7))
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", SILENCE), ("TCP_KEEPINTVL", PROBE_EVERY), ("TCP_KEEPCNT", PROBES)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other node looks after the socket files of this folder meanwhile: one's new file is the other's stale one.

    Where others hold the lock for longer than anybody needs it, and where there are no locks, it goes on without.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # a folder that may be written to but not read
        yield
        return
    try:
        until = time.monotonic() + LOCK_SECONDS
        while not _locked(descriptor) and time.monotonic() < until:
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # this file system knows no locks
        return True
    return True


def _remove_stale(endpoint: Endpoint, path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{endpoint}: there is a file that is no socket; remove it or listen elsewhere")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(endpoint.path)
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)  # nobody listens: its node was killed
            return
        except OSError as error:
            raise ConfigError(bind_error(endpoint, error)) from error
    raise ConfigError(f"{endpoint}: a node listens there already; stop it, or listen elsewhere with --listen")


def unlink_own(path: str, own: tuple[int, int] | None) -> None:
    """Removes the socket file unless another node has put its own there meanwhile."""
    with contextlib.suppress(OSError):
        if file_identity(path) == own:
            Path(path).unlink()


def bind_error(endpoint: Endpoint, error: OSError) -> str:
    """What to say of an endpoint that cannot be bound."""
    if error.errno == errno.EADDRINUSE:
        return f"{endpoint}: the port is taken; stop who has it (`ss -ltnp`), or listen elsewhere with --listen"
    if error.errno == errno.EACCES:
        return f"{endpoint}: not allowed: {error.strerror}"
    if endpoint.scheme == "unix" and len(endpoint.path.encode()) > UNIX_PATH:
        return f"{endpoint}: the path is longer than the {UNIX_PATH} bytes that the system allows"
    return f"{endpoint}: cannot listen: {error.strerror or error}"


def file_identity(path: str) -> tuple[int, int]:
    """What tells our socket file from another that took its name later."""
    info = Path(path).lstat()
    return info.st_dev, info.st_ino
