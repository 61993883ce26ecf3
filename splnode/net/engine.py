"""The native parts of this floor, where they were built and are wanted."""

import os
from functools import cache
from types import ModuleType


@cache
def _built() -> ModuleType | None:
    try:
        from splnode.net import _native  # noqa: PLC0415 - C, built or not
    except ImportError:
        return None
    os.register_at_fork(after_in_child=_native.forked)
    return _native


def native_net() -> ModuleType | None:
    """The module `_native`; None where it was not built, or SPLNODE_ENGINE names the plain engine."""
    return None if os.environ.get("SPLNODE_ENGINE") == "plain" else _built()
