"""What a test needs that a machine may lack: node, avsc, a Java runtime, another Python package."""

import os

import pytest


def require(ok: bool, name: str, how: str) -> None:
    """Skips the test when `ok` is false, saying how to install `name`.

    Where the environment's SPLNODE_REQUIRE is `all`, or names it (`avsc,java`), the test fails
    instead: in CI nothing may be skipped unseen. `all,-docker` is all but that.
    """
    if ok:
        return
    text = f"needs {name}: install it with {how}"
    if required(name):
        pytest.fail(f"{text} (SPLNODE_REQUIRE asks for it)", pytrace=False)
    pytest.skip(text)


def required(name: str) -> bool:
    """True where SPLNODE_REQUIRE has `name` in its comma-separated list, or `all` and not `-name`."""
    wanted = {word.strip() for word in os.environ.get("SPLNODE_REQUIRE", "").split(",")}
    return name in wanted or ("all" in wanted and f"-{name}" not in wanted)
