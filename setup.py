"""Everything about the build of the native engines; the rest of the package is described in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import Extension, setup

FLAGS = [] if sys.platform == "win32" else ["-O3", "-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden"]
NATIVE = ("splnode.avro.codec", "splnode.wire", "splnode.net")
CALLS = "splnode/wire/native"
SOCKETS = "splnode/net/native"
PARTS = (
    "module", "clock", "places", "pipeline", "slot", "calling", "method", "track", "intake", "stage", "room", "calls",
    "local",
)  # fmt: skip


def extension(name: str, sources: list[str]) -> Extension:
    """An extension that is rebuilt when any header changes."""
    folders = ("splnode/avro/codec", CALLS, SOCKETS)
    headers = [str(path) for folder in folders for path in sorted(Path(folder).glob("*.h"))]
    # Without a compiler the install goes on, and the plain engine serves.
    return Extension(name, sources=sources, depends=headers, extra_compile_args=FLAGS, optional=True)


setup(
    package_data={package: ["_native.pyi"] for package in NATIVE},  # beside pyproject.toml's
    ext_modules=[
        extension("splnode.avro.codec._native", ["splnode/avro/codec/_native.c"]),
        extension("splnode.wire._native", [f"{CALLS}/{part}.c" for part in PARTS]),
        extension("splnode.net._native", [f"{SOCKETS}/{part}.c" for part in ("module", "blocking", "mouth")]),
    ],
)
