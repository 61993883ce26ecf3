"""By what name others know a node."""

import os
import uuid

from splnode.config.sections import Config
from splnode.errors import ConfigError


def node_id(config: Config) -> str:
    """The node's id: the one configured, else the one it had at its last start, else a new one that is kept.

    ConfigError where the node's directory cannot be used. Blocks shortly.
    """
    if config.node.id:
        return config.node.id
    path = config.directory / "id"
    try:
        config.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_file() and (kept := path.read_text("ascii").strip()):
            return kept
        fresh = uuid.uuid4().hex[:12]
        temporary = path.with_suffix(f".{os.getpid()}")
        try:
            temporary.write_text(fresh + "\n", "ascii")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)  # where there was no room for it
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"node.directory {str(config.directory)!r} cannot be used: {error}") from None
    return fresh
