"""Everything about the build of the native engines; the rest of the package is described in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import Extension, setup

FLAGS = [] if sys.platform == "win32" else ["-O3", "-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden"]
NATIVE = ("splnode.avro.codec", "splnode.wire", "splnode.net")
CODEC = "splnode/avro/codec/native"
CALLS = "splnode/wire/native"
SOCKETS = "splnode/net/native"
PARTS = {
    CODEC: ("module", "errors", "plan", "taking", "choice", "giving", "read", "write", "conform"),
    CALLS: (
        "module", "clock", "places", "pipeline", "way", "request", "answer", "slot", "calling", "method",
        "track", "intake", "entry", "running", "stage", "seat", "room", "calls", "local",
    ),
    SOCKETS: ("module", "blocking", "mouth"),
}  # fmt: skip


def extension(name: str, folder: str) -> Extension:
    """An extension of the parts in a folder, that is rebuilt when any header changes."""
    sources = [f"{folder}/{part}.c" for part in PARTS[folder]]
    headers = [str(path) for where in ("splnode/avro/codec", *PARTS) for path in sorted(Path(where).glob("*.h"))]
    # Without a compiler the install goes on, and the plain engine serves.
    return Extension(name, sources=sources, depends=headers, extra_compile_args=FLAGS, optional=True)


setup(
    package_data={package: ["_native.pyi"] for package in NATIVE},  # beside pyproject.toml's
    ext_modules=[
        extension("splnode.avro.codec._native", CODEC),
        extension("splnode.wire._native", CALLS),
        extension("splnode.net._native", SOCKETS),
    ],
)
