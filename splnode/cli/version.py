"""Shows the versions of splnode and of what it stands on."""

import argparse
import platform
from importlib import metadata
from typing import Any, Final

from splnode import __version__
from splnode.cli import output

PACKAGES: Final = ("avro", "msgspec", "uvloop", "h11", "structlog")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `version`."""
    parser.add_argument("--json", action="store_true", help="as a JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the versions."""
    found = versions()
    if args.json:
        output.emit(found)
    else:
        packages = ", ".join(f"{name} {found[name]}" for name in PACKAGES if found[name])
        output.emit_text(f"splnode {found['splnode']} (codec: {found['codec']})")
        output.emit_text(f"Python {found['python']}, {packages}")
    return 0


def versions() -> dict[str, Any]:
    """The version of each package, None for one that is not installed, and the codec's engine."""
    from splnode.avro.codec import engines

    return {
        "splnode": __version__,
        "codec": engines()[0],
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
