"""Where this user's files and sockets are, when nobody says otherwise."""

import os
from pathlib import Path
from typing import Final

from splnode.endpoint import Endpoint

SOCKET_NAME: Final = "splnode.sock"


def runtime_directory() -> Path:
    """Where this user's sockets belong: XDG_RUNTIME_DIR, /run/user/UID, or else under ~/.local/state."""
    for candidate in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}"):
        if candidate and Path(candidate).is_absolute() and os.access(candidate, os.W_OK | os.X_OK):
            return Path(candidate)
    return _base("XDG_STATE_HOME", ".local/state") / "splnode"


def default_listen() -> tuple[str, ...]:
    """Where a node listens when nobody says: loopback TCP, and the user's own Unix socket."""
    return "tcp://127.0.0.1:9090", str(default_socket())


def default_socket() -> Endpoint:
    """The Unix socket of the local node, which the shell tries first."""
    return Endpoint("unix", path=str(runtime_directory() / SOCKET_NAME))


def default_directory() -> str:
    """Where a node keeps its state when nobody says: XDG_DATA_HOME/splnode."""
    return str(_base("XDG_DATA_HOME", ".local/share") / "splnode")


def _base(variable: str, below_home: str) -> Path:
    """One of the XDG base directories; the specification ignores relative ones."""
    given = os.environ.get(variable, "")
    return Path(given) if Path(given).is_absolute() else Path.home() / below_home
