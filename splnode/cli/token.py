"""Makes and forgets the tokens by which somebody may call a node: from another host, or with fewer rights.

  splnode token create ci --allow SPLDataService.read --expires 30d
  splnode token list
  splnode token revoke ci

A token is shown once, when it is made; the node keeps its hash. It is good from then on, without a restart, for the
messages that it was made for, where the policy allows them too. Whoever has it sends it with
`splnode call --token-file FILE`, as SPLNODE_TOKEN, or in the header `Authorization: Bearer TOKEN`.
"""

import argparse
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from splnode import config
from splnode.access.tokens import Token, TokenFile
from splnode.cli import output
from splnode.cli.failure import UsageError, say

EXPIRES: Final = "90d"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `token`."""
    parser.add_argument("action", choices=("create", "list", "revoke"))
    parser.add_argument("name", metavar="NAME", nargs="?", help="create, revoke: what the token is called")
    parser.add_argument(
        "--allow",
        metavar="SERVICE[.MESSAGE]",
        action="append",
        default=[],
        help="create: what it is good for; * stands for any characters; may be given more than once",
    )
    parser.add_argument("--group", metavar="NAME", action="append", default=[], help="create: a group of the policy")
    parser.add_argument(
        "--expires", metavar="TIME", default=EXPIRES, help=f"create: 30d, 12h, 15m, 90s or never (default: {EXPIRES})"
    )
    parser.add_argument("--out", metavar="FILE", help="create: write the token to a new file instead of stdout")
    parser.add_argument("--config", metavar="FILE", type=Path, help="the settings of the node (default: none)")
    parser.add_argument("--json", action="store_true", help="JSON on a terminal too")


def run(args: argparse.Namespace) -> int:
    """Does it. ConfigError for a name that is there, or is not, and a file that cannot be used."""
    file = TokenFile(config.load(args.config).tokens_file)
    if args.action == "list":
        _list(args, file)
    elif not args.name:
        raise UsageError(f"token {args.action} NAME: say which")
    elif args.action == "revoke":
        file.revoke(args.name)
        say(f"token {args.name} is revoked; nodes that run know it within a second")
    else:
        _create(args, file)
    return 0


def _create(args: argparse.Namespace, file: TokenFile) -> None:
    now = time.time()
    expires = _expiry(args.expires, now)
    if args.out is None:
        _show(args, file.create(args.name, args.allow, args.group, now, expires), expires)
        return
    try:
        descriptor = os.open(args.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"--out {args.out}: it cannot be made: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as out:
        try:
            out.write(file.create(args.name, args.allow, args.group, now, expires) + "\n")
        except BaseException:
            os.unlink(args.out)  # noqa: PTH108 - the name as it was given
            raise


def _show(args: argparse.Namespace, text: str, expires: float | None) -> None:
    if output.wants_text(args.json):
        output.emit_text(text)
        say("keep it: it is not shown again")
    else:
        output.emit({"name": args.name, "token": text, "expires": _date(expires)})


def _list(args: argparse.Namespace, file: TokenFile) -> None:
    now = time.time()
    if not output.wants_text(args.json):
        for token in file.read():
            output.emit(_told(token, now))
        return
    rows: list[tuple[str, ...]] = [("NAME", "ALLOW", "GROUPS", "EXPIRES")]
    for token in file.read():
        ends = _date(token.expires) or "never"
        over = "" if token.is_live(now) else " (over)"
        rows.append((token.name, ", ".join(token.allow), ", ".join(token.groups), ends + over))
    output.emit_text(output.table(rows))


def _told(token: Token, now: float) -> dict[str, object]:
    return {
        "name": token.name,
        "allow": list(token.allow),
        "groups": list(token.groups),
        "created": _date(token.created),
        "expires": _date(token.expires),
        "live": token.is_live(now),
    }


def _expiry(text: str, now: float) -> float | None:
    if text == "never":
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text)
    if found is None:
        raise UsageError(f"--expires {text!r}: 30d, 12h, 15m, 90s or never")
    return now + int(found[1]) * _UNITS[found[2]]


def _date(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
