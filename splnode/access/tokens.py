"""Bearer tokens of a node: a file of what may be recognised by its hash, and shown to nobody.

```json
{"tokens": [{"name": "ci", "digest": "<SHA-256>", "allow": ["SPLDataService.read"], "groups": [],
             "created": 1700000000, "expires": 1702592000}]}
```

A token is 32 random bytes, so a plain SHA-256 of it cannot be searched for, and needs neither salt nor many rounds. The
file belongs to the node's user: who may write it may call everything.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from splnode.access.policy import TOKEN, names_messages, pattern
from splnode.errors import ConfigError
from splnode.identity import GROUPS, Identity

PREFIX: Final = "spl_"
"""How each token begins, so that one which lies about is known for what it is."""
BYTES: Final = 32
LONGEST: Final = 256
"""Characters of what is looked at as a token."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One token: its name, the hash of its text, and the messages it may call where the policy allows them too.

    `created` and `expires` are seconds since 1970; `expires` None: never.
    """

    name: str
    digest: str
    allow: tuple[str, ...]
    groups: tuple[str, ...] = ()
    created: float = 0.0
    expires: float | None = None

    @property
    def identity(self) -> Identity:
        """Who brings it."""
        return Identity(f"token:{self.name}", (TOKEN, *self.groups), TOKEN)

    def is_live(self, now: float) -> bool:
        """Whether its time has not passed."""
        return self.expires is None or now < self.expires


class Tokens:
    """The tokens of a node, as they were read: recognised by their text, by its hash, by name."""

    def __init__(self, tokens: Sequence[Token] = ()) -> None:
        self._by_digest = {token.digest: token for token in tokens}
        self._by_name = {token.name: token for token in tokens}
        self._scopes = {token.name: pattern(token.allow) for token in tokens}

    def __len__(self) -> int:
        return len(self._by_digest)

    def find(self, text: str, now: float) -> Token | None:
        """The token of this text, if it is one and its time has not passed."""
        if len(text) > LONGEST or not text.startswith(PREFIX):
            return None
        return self.live(digest(text), now)

    def live(self, hashed: str, now: float) -> Token | None:
        """The same by its hash: one that was known before may be revoked since."""
        token = self._by_digest.get(hashed)
        return token if token is not None and token.is_live(now) else None

    def has_scope(self, identity: Identity, service: str, message: str) -> bool:
        """Whether a token of this node was made for that message; True for who has not come by one."""
        if TOKEN not in identity.groups:
            return True
        covers = self._scopes.get(identity.name.removeprefix("token:"))
        return covers is not None and bool(covers(service) or covers(f"{service}.{message}"))


class TokenFile:
    """The file. Its writers take turns; who reads it sees all of a change or nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Token]:
        """All of them, none if there is no file. ConfigError if it cannot be used."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o022:
                    fix = f"chmod 600 {self.path}"
                    raise ConfigError(f"tokens {str(self.path)!r}: others may write it, and so call everything: {fix}")
                data = file.read()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"tokens {str(self.path)!r} cannot be read: {error.strerror}") from None
        return _parse(data, str(self.path))

    def create(self, name: str, allow: Sequence[str], groups: Sequence[str], now: float, expires: float | None) -> str:
        """Adds a token and gives its text, which nobody can find out later. ConfigError: a name that is there, ..."""
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} names no token: 1 to 63 letters, digits, dots, dashes and underscores")
        if not allow:
            raise ConfigError(f"token {name}: say what it may call: --allow SERVICE or --allow SERVICE.MESSAGE")
        for word in allow:
            if not names_messages(word):
                raise ConfigError(f"token {name}: {word!r} names no service and no message: --allow once for each")
        for group in groups:
            if group in (*GROUPS, TOKEN) or not _NAME.fullmatch(group):
                raise ConfigError(f"token {name}: {group!r} is no group that a token can have; take another name")
        text = PREFIX + secrets.token_urlsafe(BYTES)
        with self._turn():
            tokens = self.read()
            if any(token.name == name for token in tokens):
                raise ConfigError(f"there is a token {name} already; revoke it first: splnode token revoke {name}")
            self._write([*tokens, Token(name, digest(text), tuple(allow), tuple(groups), now, expires)])
        return text

    def revoke(self, name: str) -> None:
        """Forgets a token. ConfigError if there is none of that name."""
        with self._turn():
            tokens = self.read()
            kept = [token for token in tokens if token.name != name]
            if len(kept) == len(tokens):
                names = ", ".join(token.name for token in tokens) or "none"
                raise ConfigError(f"there is no token {name!r} in {self.path}; there are {names}")
            self._write(kept)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"tokens {str(self.path)!r} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, tokens: Sequence[Token]) -> None:
        fresh = self.path.with_suffix(f".{os.getpid()}")
        data = msgspec.json.format(msgspec.json.encode({"tokens": tokens}), indent=2) + b"\n"
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise ConfigError(f"tokens {str(self.path)!r} cannot be written: {error.strerror}") from None


def digest(text: str) -> str:
    """The hash by which a token is known."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _parse(data: bytes, source: str) -> list[Token]:
    try:
        tree: Mapping[str, Any] = json.loads(data)
        tokens = msgspec.convert(tree["tokens"], list[Token])
    except (ValueError, KeyError, TypeError, RecursionError, msgspec.ValidationError) as error:
        raise ConfigError(f"tokens {source!r} cannot be used: {error}") from None
    for token in tokens:
        if not _NAME.fullmatch(token.name) or not all(_NAME.fullmatch(group) for group in token.groups):
            raise ConfigError(f"tokens {source!r}: {token.name!r} or one of its groups is no name")
        if any(group in (*GROUPS, TOKEN) for group in token.groups):
            raise ConfigError(f"tokens {source!r}: {token.name} has a group that shows by how one comes")
    return tokens
