"""The token of a command: `--token-file FILE`, or SPLNODE_TOKEN. Not in its words: all on a host can read those.

| the call | the token goes |
|---|---|
| of a message of the node that was dialled | with it; SPLNODE_TOKEN not to a node of one's own, which knows the uid |
| that a node of one's own passes on | in what is passed on: it is for the node where that ends |
| that another node passes on | with the call of that node, which then says whom it is for |
"""

import argparse
import os
from typing import Final

from splnode.cli.failure import UsageError, say
from splnode.endpoint import Endpoint
from splnode.identity import AUTHORIZATION_KEY, bearer

VARIABLE: Final = "SPLNODE_TOKEN"
LONGEST: Final = 256


class Bearing:
    """What a token is put beside. Without a `token` everything here is empty; `named`: an option gave it."""

    def __init__(self, token: str = "", *, named: bool = False) -> None:
        self._metadata = bearer(token) if token else {}
        self._named = named

    def direct(self, endpoint: Endpoint) -> dict[str, bytes]:
        """Metadata of calls that end at this endpoint."""
        return self._metadata if self._named or not (self._metadata and is_own(endpoint)) else {}

    def passing(self, endpoint: Endpoint) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Metadata of calls that the node of this endpoint passes on: of its own call, and of the one passed on."""
        return ({}, self._metadata) if self._metadata and is_own(endpoint) else (self._metadata, {})

    @property
    def alone(self) -> dict[str, bytes]:
        """Metadata of calls that this command makes by itself, of whichever node."""
        return self._metadata


def add_options(group: argparse._ArgumentGroup) -> None:
    """The option, in the group of those that say whom to call."""
    group.add_argument(
        "--token-file", metavar="FILE", help=f"a file with the token to bring ({VARIABLE} has it itself)"
    )


def given(args: argparse.Namespace) -> Bearing:
    """What the option says, or else the environment. UsageError for a file that has no token."""
    file = getattr(args, "token_file", None)
    if file is None:
        return Bearing(_checked(os.environ.get(VARIABLE, ""), VARIABLE))
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - pathlib costs the shell 3 ms
            if os.fstat(opened.fileno()).st_mode & 0o077 and os.path.isfile(file):  # noqa: PTH113 - as above
                say(f"--token-file {file}: others on this host may read it: chmod 600 {file}")
            text = opened.read(LONGEST + 1).decode("ascii", "replace").strip()
    except OSError as error:
        raise UsageError(f"--token-file {file}: it cannot be read: {error.strerror}") from None
    if not text:
        raise UsageError(f"--token-file {file}: it is empty")
    return Bearing(_checked(text, f"--token-file {file}"), named=True)


def warn(line: str) -> None:
    """Tells who writes a token into a command what they have done."""
    key, _, value = line.partition(":")
    if key.strip().lower() == AUTHORIZATION_KEY and "${" not in value:
        say("-H authorization: everybody on this host can read it there: use --token-file, or ${NAME}")


def is_own(endpoint: Endpoint) -> bool:
    """Whether it is a Unix socket of this user's own, or any while this is root: there the uid says it all."""
    if endpoint.scheme != "unix":
        return False
    try:
        return os.getuid() in (0, os.stat(endpoint.path).st_uid)  # noqa: PTH116 - pathlib costs the shell 3 ms
    except OSError:
        return False


def _checked(text: str, where: str) -> str:
    """The text, if it can be a token. It is not quoted: it may nearly be one."""
    if len(text) > LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(f"{where}: it is no token: those are words of at most {LONGEST} letters and digits")
    return text
