"""Candidates for the last word of a command line, one a line, each with a sentence behind a tab.

For the scripts that `splnode completion` prints: they hand over the line up to the cursor. Services and messages
are asked of the node that the line names; a node that does not answer at once gives none. No candidate means: files.
"""

import argparse
import contextlib
import io
import shlex
from collections.abc import Iterable
from typing import Any, Final

from splnode.cli import output
from splnode.cli.main import COMMANDS, command, parser_of

PATIENCE: Final = 0.5
"""Seconds to wait for the node: somebody is typing."""

Candidates = Iterable[tuple[str, str]]


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `complete`."""
    parser.add_argument("line", help="the command line up to the cursor, the command's own name included")


def run(args: argparse.Namespace) -> int:
    """Prints the candidates; whatever goes wrong, a person at a prompt does not want to read it."""
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        for word, doc in candidates(args.line):
            output.emit_text(f"{word}\t{' '.join(doc.split())}" if doc else word)
    return 0


def candidates(line: str) -> list[tuple[str, str]]:
    """The words that may stand at the end of the line, and a sentence about each."""
    *words, last = split(line)
    if len(words) < 1:
        return []
    if len(words) == 1:
        return _starting(last, COMMANDS.items())
    name = words[1]
    if name not in COMMANDS:
        return []
    parser = parser_of(name, command(name))
    options = parser._option_string_actions
    option, equals, value = last.partition("=")
    if equals and option in options:
        return [(f"{option}={word}", doc) for word, doc in _values(options[option], value, words)]
    before = options.get(words[-1]) if len(words) > 2 else None
    if before is not None and before.nargs != 0:
        return _values(before, last, words)
    if last.startswith("-"):
        return _starting(last, [(text, action.help or "") for text, action in options.items() if text.startswith("--")])
    return _arguments(parser, name, words, last)


def split(line: str) -> list[str]:
    """The words of a line as a shell cuts them; the last one is empty behind a space, and may lack its end quote."""
    for closing in ("", '"', "'"):
        with contextlib.suppress(ValueError):
            words = shlex.split(line + closing)
            return [*words, ""] if not line or (line[-1].isspace() and not closing) else words
    return [""]


def _arguments(parser: argparse.ArgumentParser, name: str, words: list[str], last: str) -> list[tuple[str, str]]:
    positional = [action for action in parser._actions if not action.option_strings]
    place = len(_given(parser, words[2:]))
    if not positional or (place >= len(positional) and positional[-1].nargs not in ("+", "*")):
        return []
    action = positional[min(place, len(positional) - 1)]
    if action.choices is not None:
        return _starting(last, [(str(choice), "") for choice in action.choices])
    if name in ("call", "bench"):
        return _messages(_served(words), last)
    if name in ("ls", "health"):
        return _services(_served(words), last)
    if name == "describe":
        served = _served(words)
        return _services(served, last) + (_messages(served, last) if "." in last else [])
    return _endpoints(last) if name == "ping" else []


def _given(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """Those words that are neither options nor their values."""
    given, skip = [], False
    for word in words:
        action = parser._option_string_actions.get(word)
        if skip:
            skip = False
        elif action is not None:
            skip = action.nargs != 0
        elif not word.startswith("-") or word == "-":
            given.append(word)
    return given


def _values(action: argparse.Action, last: str, words: list[str]) -> list[tuple[str, str]]:
    if action.choices is not None:
        return _starting(last, [(str(choice), "") for choice in action.choices])
    if action.dest in ("to", "listen"):
        return _endpoints(last)
    if action.dest == "profile":
        return _starting(last, _profiles())
    return []


def _endpoints(last: str) -> list[tuple[str, str]]:
    from splnode.cli.target import LOCAL_TCP
    from splnode.config import default_socket
    from splnode.endpoint import SCHEMES

    known = [(str(default_socket()), "the local node's socket"), (LOCAL_TCP, "the local node's port")]
    return _starting(last, [*known, *((f"{scheme}://", "") for scheme in SCHEMES)])


def _profiles() -> Candidates:
    import tomllib

    from splnode.cli import profile

    with open(profile.path(), "rb") as file:  # noqa: PTH123 - it is no Path
        tree = tomllib.load(file)
    return [(name, str(section.get("to", ""))) for name, section in tree.get("profile", {}).items()]


def _served(words: list[str]) -> list[dict[str, Any]]:
    """What the node serves that the line means: its --to, its --profile, or the default."""
    from splnode.cli import profile, target
    from splnode.cli.dial import listing

    chosen = profile.load(_option(words, "--profile"))
    endpoints = target.endpoints(_option(words, "--to") or chosen.to)
    return listing(target.Target(endpoints, PATIENCE, PATIENCE, {}))


def _option(words: list[str], name: str) -> str | None:
    for place, word in enumerate(words):
        if word == name and place + 1 < len(words):
            return words[place + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def _services(served: list[dict[str, Any]], last: str) -> list[tuple[str, str]]:
    full = [(str(each["name"]), str(each["doc"])) for each in served]
    return _starting(last, full) or _starting(last, [(_short(name), doc) for name, doc in full])


def _messages(served: list[dict[str, Any]], last: str) -> list[tuple[str, str]]:
    found = [(str(each["name"]), str(message)) for each in served for message in each["messages"]]
    full = _starting(last, [(f"{name}.{message}", "") for name, message in found])
    return full or _starting(last, [(f"{_short(name)}.{message}", "") for name, message in found])


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _starting(prefix: str, found: Candidates) -> list[tuple[str, str]]:
    return [each for each in found if each[0].startswith(prefix)]
