"""Looks why nodes do not find each other: certificates, interfaces, multicast, ports, peers, clocks, firewalls.

It is the node of this host that looks, or, where none runs, this command. Exit code 0: nothing is wrong; 1: something
is, and what to do about it stands beside it.
"""

import argparse
import asyncio
from typing import Any, Final

from splnode.cli import meshed, output

SIGNS: Final = {"GOOD": ("ok", output.GREEN), "NOTE": ("note", output.BOLD), "BAD": ("BAD", output.RED)}


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `doctor`."""
    meshed.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints what was found, and says by the exit code whether that is good."""
    found = asyncio.run(_diagnose(args))
    if output.wants_text(args.json):
        output.emit_text(output.table([line(each) for each in found]))
    else:
        for each in found:
            output.emit(each)
    return 1 if any(each["grade"] == "BAD" for each in found) else 0


async def _diagnose(args: argparse.Namespace) -> list[dict[str, Any]]:
    async with meshed.asking(args) as asked:
        found: list[dict[str, Any]] = await asked.call("diagnose")
        return found


def line(finding: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    word, style = SIGNS[finding["grade"]]
    fix = f" -> {finding['fix']}" if finding["fix"] else ""
    return output.paint(word, style), finding["check"], f"{finding['text']}{fix}"
