"""Which call engine is used."""

import pytest

from splnode.avro.codec import engines
from splnode.wire.engine import native_engine


def test_the_plain_engine_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLNODE_ENGINE", "plain")
    assert native_engine() is None


def test_the_native_engine_where_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPLNODE_ENGINE", raising=False)
    found = native_engine()
    assert (found is not None) == ("native" in engines())
