"""The entry point of `splnode`: picks the command, and turns whatever ends it into an exit code.

A command is a module with `configure(parser)` and `run(args) -> int`. None is imported before it is called,
so that a call costs the imports of a call.
"""

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

COMMANDS: Final = {
    "serve": "start a node",
    "call": "call a message",
    "ls": "list services, or a service's messages",
    "describe": "show what a service or a message takes and gives",
    "ping": "measure the round trip to a node",
    "health": "ask whether a node or a service is serving",
    "nodes": "list the nodes of the mesh",
    "services": "list which node serves what, and whether it can be called",
    "channels": "list the ways of a node to others, and how they are",
    "doctor": "find out why nodes do not find each other",
    "metrics": "show what a node counts of calls, connections and processes",
    "policy": "say who may call what, and which rule says so",
    "token": "make and revoke the tokens by which somebody may call",
    "bench": "measure how fast a message is answered",
    "cert": "make certificates and keys, to encrypt a mesh",
    "schema": "fingerprints, canonical form and faults of a schema file",
    "version": "show the versions of splnode and what it stands on",
    "completion": "print the completion script of a shell",
}
HIDDEN: Final = {
    "complete": "candidates for the last word of a command line",
    "worker": "one of the processes of a node that has several",
}

LASTING: Final = ("serve", "bench", "worker")
"""Commands that are no matter of a moment."""

MOMENT: Final = 100_000
"""Objects that a command of a moment makes before the collector looks at them. All that it imports lives to its end:
to look through that again and again, and once more at the end, is a sixth of a call."""

INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141
"""What a shell shows for a command that a signal ended: 128 + SIGINT, 128 + SIGPIPE."""

EPILOG: Final = """\
Results go to stdout, one JSON value a line; all else goes to stderr.

exit codes:
  0          done
  1          health: not serving; doctor: something is wrong; policy: denied; or stdout cannot be written
  2          a wrong command, flag or value
  3          no endpoint: nothing answers there, or it lacks the service
  4          the schemas do not fit
  64 + code  the call failed with one of gRPC's codes; an error that the protocol declares is 66 (UNKNOWN)
  130, 141   ended by Ctrl-C; nobody reads stdout any more

environment:
  SPLNODE_TO       the endpoint to call, where --to does not say
  SPLNODE_PROFILE  the profile to use, where --profile does not say
  SPLNODE_TOKEN    the token to bring, where --token-file does not say
  SPLNODE_MESH_KEY, SPLNODE_CERT, SPLNODE_CA  files for TLS, where no option names one
  SPLNODE_WORKERS  the processes of serve, where --workers does not say
  NO_COLOR         no colours

`splnode COMMAND --help` tells about a command, `splnode call SERVICE.MESSAGE --help` about a message.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit code; never raises."""
    words = list(sys.argv[1:] if argv is None else argv)
    moment = argv is None and words[:1] and words[0] not in LASTING
    if moment:
        gc.set_threshold(MOMENT)
    try:
        code = _dispatch(words)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse: --help gives 0, a wrong flag 2
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        from splnode.cli.output import forget_stdout

        forget_stdout()
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an exit code and a sentence
        from splnode.cli.failure import report

        return report(error)
    finally:
        if moment:
            gc.freeze()


def command(name: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f"splnode.cli.{name}")


def parser_of(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """The parser of a command, with all its options."""
    parser = argparse.ArgumentParser(
        prog=f"splnode {name}",
        description=module.__doc__,
        formatter_class=_Formatter,
        allow_abbrev=False,
        add_help=False,
    )
    module.configure(parser)
    if "--help" not in parser._option_string_actions:  # call has one of its own
        parser.add_argument("-h", "--help", action="help", help="show this text")
    return parser


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal. argparse asks shutil for that, at each option of a parser, and loads seven modules."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)

    def _set_color(self, color: bool) -> None:
        """Python 3.14 makes a formatter for each parser, to check its options: its colours would be most of a call."""
        self._asked = color

    def __getattr__(self, name: str) -> Any:
        if name not in ("_theme", "_decolor"):
            raise AttributeError(name)
        super()._set_color(self._asked)  # type: ignore[misc]  # Python 3.14
        return self.__dict__[name]


def _columns() -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given):
        return int(given)
    try:
        return os.get_terminal_size().columns or 80
    except OSError:  # no terminal
        return 80


def _dispatch(words: list[str]) -> int:
    name = words[0] if words else ""
    if name in COMMANDS or name in HIDDEN:
        module = command(name)
        return int(module.run(parser_of(name, module).parse_args(words[1:])))
    if name in ("-h", "--help", "help"):
        print(overview())
        return 0
    if name in ("-V", "--version"):
        return _dispatch(["version"])
    if name:
        print(f"splnode: there is no command {name!r}{_nearest(name)}", file=sys.stderr)
    else:
        print(overview(), file=sys.stderr)
    return 2


def overview() -> str:
    """What `splnode --help` shows."""
    lines = [f"  {name:11} {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(("usage: splnode COMMAND [OPTION ...]", "", "commands:", *lines, "", EPILOG.rstrip()))


def _nearest(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(COMMANDS)}"
