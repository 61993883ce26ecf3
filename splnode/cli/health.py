"""Asks a node whether it, or one of its services, is serving. For the health checks of containers.

Exit code 0: it is serving; 1: it is not, or has no such service; 3: nothing answers.
"""

import argparse

from splnode.cli import output, target

MAX_TIME = 3.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `health`."""
    parser.add_argument("service", metavar="SERVICE", nargs="?", default="", help="its name (default: the whole node)")
    parser.add_argument("--json", action="store_true", help="JSON on a terminal too")
    target.add_options(parser, MAX_TIME)


def run(args: argparse.Namespace) -> int:
    """Prints the state and gives the exit code that stands for it."""
    service, status = _check(target.from_args(args), args.service)
    serving = status == "SERVING"
    if output.wants_text(args.json):
        style = output.GREEN if serving else output.RED
        output.emit_text(f"{service or 'node'}: {output.paint(status, style)}")
    else:
        output.emit({"service": service, "status": status})
    return 0 if serving else 1


def _check(where: target.Target, service: str) -> tuple[str, str]:
    from splnode.cli import dial

    with dial.service(where, dial.HEALTH) as client:
        found = client.call("check", {"service": service})
        if _status(found) == "SERVICE_UNKNOWN" and "." not in service:
            listed = client.call("list", {})
            full = [name for name in listed if name.endswith(f".{service}")] if isinstance(listed, dict) else []
            if len(full) == 1:
                return full[0], _status(listed[full[0]]) if isinstance(listed, dict) else ""
        return service, _status(found)


def _status(found: object) -> str:
    return str(found.get("status", "UNKNOWN")) if isinstance(found, dict) else "UNKNOWN"
