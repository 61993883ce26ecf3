"""What a test needs that a machine may lack: node, avsc, a Java runtime, another Python package."""

import os

import pytest


def require(ok: bool, name: str, how: str) -> None:
    """Skips the test when `ok` is false, saying how to install `name`.

    Where the environment's SPLNODE_REQUIRE is `all`, or names it (`avsc,java`), the test fails
    instead: in CI nothing may be skipped unseen.
    """
    if ok:
        return
    text = f"needs {name}: install it with {how}"
    if required(name):
        pytest.fail(f"{text} (SPLNODE_REQUIRE asks for it)", pytrace=False)
    pytest.skip(text)


def required(name: str) -> bool:
    """True where SPLNODE_REQUIRE is `all` or has `name` in its comma-separated list."""
    wanted = {word.strip() for word in os.environ.get("SPLNODE_REQUIRE", "").split(",")}
    return "all" in wanted or name in wanted
