"""Keeps a guard to its files: read at the start, and again when one of them has changed or somebody says so.

At the start a file that cannot be used is an error. Later it is told to the log, and what held before still holds.
"""

import asyncio
import os
import stat
from pathlib import Path
from typing import Final

import structlog

from splnode.access.audit import Audit
from splnode.access.guard import Guard
from splnode.access.policy import Policy, default_policy, parse
from splnode.access.tokens import TokenFile, Tokens
from splnode.config import Config
from splnode.errors import ConfigError

LOOK: Final = 1.0
"""Seconds between two looks at the files: that long a revoked token is good at most."""

log = structlog.get_logger("splnode.access")

_Seen = tuple[int, int, int] | None


class Keeper:
    """The `guard` of a node, made of its settings. ConfigError. Whoever made it closes it.

    `audit_all`: whether this process writes allowed calls down too, where the settings ask for that.
    """

    def __init__(self, config: Config, *, audit_all: bool = True) -> None:
        self._audit = Audit(config.audit_file)
        self._may_audit_all = audit_all
        self._watching: asyncio.Task[None] | None = None
        self._adopt(config)
        policy, tokens = self._read()
        self.guard = Guard(policy, tokens, self._audit, audit_all=self._audits_all)
        self.guard.look = self._look_again

    @property
    def lost(self) -> int:
        """Lines of the audit log that were not written."""
        return self._audit.lost

    @property
    def files(self) -> str:
        """Where the policy and the tokens are read."""
        return f"policy: {self._policy_file or 'the one that is shipped'}; tokens: {self._tokens.path}"

    def fault(self) -> str:
        """Why the files, as they are now, would not be taken; "" if they would. Nothing is changed."""
        try:
            read_policy(self._policy_file)
            self._tokens.read()
        except ConfigError as error:
            return str(error)
        return ""

    def reload(self, config: Config) -> None:
        """Reads the files again, those of other settings too, and begins the log anew. It never raises."""
        self._audit.reopen(config.audit_file)
        self._adopt(config)
        self._load()

    def watch(self) -> None:
        """From now on looks after the files by itself, until `close`. In an event loop."""
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    def close(self) -> None:
        """Writes the rest of the log, for which the disk has a moment."""
        if self._watching is not None:
            self._watching.cancel()
        self._audit.close()

    def _adopt(self, config: Config) -> None:
        self._policy_file = config.policy_file
        self._tokens = TokenFile(config.tokens_file)
        self._audits_all = self._may_audit_all and config.access.audit_calls == "all"
        self._seen: tuple[_Seen, ...] = ()

    def _read(self) -> tuple[Policy, Tokens]:
        self._seen = self._look()
        return read_policy(self._policy_file), Tokens(self._tokens.read())

    def _look(self) -> tuple[_Seen, ...]:
        return tuple(_state(path) for path in (self._policy_file, self._tokens.path) if path is not None)

    def _load(self) -> None:
        try:
            policy, tokens = self._read()
        except ConfigError as error:
            log.error("who may call what stays as it was", reason=str(error))
            return
        self.guard.replace(policy, tokens, audit_all=self._audits_all)
        log.info("who may call what was read again", policy=policy.source, rules=len(policy.rules), tokens=len(tokens))

    def _look_again(self) -> bool:
        """Whether a file has changed, and was read."""
        changed = self._look() != self._seen
        if changed:
            self._load()
        return changed

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            self._look_again()


def read_policy(path: str | os.PathLike[str] | None) -> Policy:
    """The policy of a file, or the one that is shipped. ConfigError, with the line if it is one's, and for a file that
    everybody may write.
    """
    if path is None:
        return default_policy()
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                fix = f"chmod o-w {path}"
                raise ConfigError(f"policy {str(path)!r}: everybody may write it, and so call everything: {fix}")
            return parse(file.read(), str(path))
    except OSError as error:
        raise ConfigError(f"policy {str(path)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"policy {str(path)!r} is not UTF-8: byte {error.start}") from None


def _state(path: Path) -> _Seen:
    """What is different once a file was written or another put in its place."""
    try:
        found = os.stat(path)  # noqa: PTH116 - the same, and this is done each second
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
