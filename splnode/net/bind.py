"""Binding sockets: exclusively, with the right permissions, and with errors that say what to do."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from splnode.endpoint import Endpoint
from splnode.errors import ConfigError

UNIX_PATH: Final = 107
"""Bytes of a Unix socket's path (unix(7): sun_path, less its final zero)."""
LOCK_SECONDS: Final = 2.0
"""How long the start of another node in the same folder is waited for."""


def bind_unix(endpoint: Endpoint) -> socket.socket:
    """A listening socket, readable and writable for user and group alone; a file left by a dead node is replaced.

    Of two nodes that want the same path at the same moment one gets it. Blocks shortly.
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
    with contextlib.suppress(FileNotFoundError):
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
