"""Either engine of the calls, for a test's fixture."""

from collections.abc import Iterator

import pytest

from splnode.wire.engine import native_engine
from splnode.wire.metadata import metadata_codec
from tests.require import require

ENGINES = ("plain", "native")


def engine_for_a_test(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What is made meanwhile is made by that engine. A fixture's `yield from`."""
    monkeypatch.setenv("SPLNODE_ENGINE", name)
    require(name == "plain" or native_engine() is not None, "native", "pip install .")
    metadata_codec.cache_clear()  # it keeps what it has made
    yield name
    metadata_codec.cache_clear()
