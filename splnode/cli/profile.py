"""Settings of the shell that one does not want to type again: `[profile.NAME]` in ~/.config/splnode/shell.toml.

```toml
[profile.kitchen]
to = "tls://kitchen.local:9090"
mesh-key = "~/.config/splnode/mesh.key"
max-time = 5
headers = { tenant = "blue", token = "${TOKEN}" }
```
"""

import os
from collections.abc import Mapping
from typing import Any, Final

from splnode.cli.failure import UsageError

KEYS: Final = ("to", "headers", "max-time", "mesh-key", "cert", "key", "ca")
TLS: Final = {"mesh-key": "mesh_key", "cert": "certificate", "key": "key", "ca": "authority"}
"""Files of TLS, and what `[tls]` of a node calls them."""


class Profile:
    """`to` and `max_time` are None where the profile does not say; `headers` are as written, `tls` has files."""

    def __init__(
        self,
        to: str | None = None,
        max_time: float | None = None,
        headers: Mapping[str, str] | None = None,
        tls: Mapping[str, str] | None = None,
    ) -> None:
        self.tls = dict(tls or {})
        self.to = to
        self.max_time = max_time
        self.headers = dict(headers or {})


def path() -> str:
    """Where the profiles are, below XDG_CONFIG_HOME or ~/.config."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return f"{base if base.startswith('/') else os.path.expanduser('~/.config')}/splnode/shell.toml"  # noqa: PTH111 - pathlib costs the shell 3 ms


def load(name: str | None) -> Profile:
    """The profile of that name, or of SPLNODE_PROFILE; an empty one where neither says. UsageError."""
    name = name or os.environ.get("SPLNODE_PROFILE")
    if not name:
        return Profile()
    import tomllib

    file = path()
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - as above
            tree = tomllib.load(opened)
    except OSError as error:
        raise UsageError(f"profile {name!r}: {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"profile {name!r}: {file} is not TOML: {error}") from None
    profiles = tree.get("profile", {})
    if not isinstance(profiles, dict) or not isinstance(profiles.get(name), dict):
        known = ", ".join(profiles) if isinstance(profiles, dict) and profiles else "none"
        raise UsageError(f"there is no [profile.{name}] in {file}; there are: {known}")
    return _read(profiles[name], f"{file}: [profile.{name}]")


def _read(section: dict[str, Any], where: str) -> Profile:
    for key in section:
        if key not in KEYS:
            raise UsageError(f"{where}: unknown key {key}; there are {', '.join(KEYS)}")
    to, headers, max_time = section.get("to"), section.get("headers", {}), section.get("max-time")
    if to is not None and not isinstance(to, str):
        raise UsageError(f"{where}: to is an endpoint in quotes, not {to!r}")
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise UsageError(f'{where}: headers are texts by name: {{ tenant = "blue" }}')
    if max_time is not None and (isinstance(max_time, bool) or not isinstance(max_time, (int, float)) or max_time <= 0):
        raise UsageError(f"{where}: max-time is a number of seconds above 0, not {max_time!r}")
    files = {name: section[key] for key, name in TLS.items() if key in section}
    if not all(isinstance(value, str) for value in files.values()):
        raise UsageError(f"{where}: {', '.join(TLS)} are files, in quotes")
    return Profile(to, max_time, headers, files)
