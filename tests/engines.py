"""Either engine of the calls, for a test's fixture."""

import contextlib
from collections.abc import Iterator
from unittest import mock

import pytest

from splnode.wire import room
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


@contextlib.contextmanager
def chosen_engine(name: str) -> Iterator[None]:
    """The same for a `with`: one after the other in one process."""
    kept = (metadata_codec, room._kind)
    with mock.patch.dict("os.environ", {"SPLNODE_ENGINE": name}):
        for each in kept:
            each.cache_clear()
        try:
            yield
        finally:
            for each in kept:
                each.cache_clear()
