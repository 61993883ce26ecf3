"""The native call engine, where it was built and is wanted."""

import os
from functools import cache
from types import ModuleType


@cache
def _built() -> ModuleType | None:
    try:
        from splnode.wire import _native  # noqa: PLC0415 - C, built or not
    except ImportError:
        return None
    return _native


def native_engine() -> ModuleType | None:
    """The native call engine; None where it was not built, or SPLNODE_ENGINE names the plain one."""
    return None if os.environ.get("SPLNODE_ENGINE") == "plain" else _built()
