"""Everything about the native codec engine's build; the rest of the package is described in pyproject.toml."""

import sys

from setuptools import Extension, setup

FLAGS = [] if sys.platform == "win32" else ["-O3", "-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden"]

setup(
    package_data={"splnode.avro.codec": ["_native.pyi"]},  # added to what pyproject.toml lists
    ext_modules=[
        Extension(
            "splnode.avro.codec._native",
            sources=["splnode/avro/codec/_native.c"],
            extra_compile_args=FLAGS,
            optional=True,  # without a compiler the install goes on, and the plain engine serves
        )
    ],
)
