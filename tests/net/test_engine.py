"""Which engine is used on this floor."""

import pytest

from splnode.net.engine import native_net
from splnode.wire.engine import native_engine


def test_the_plain_engine_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLNODE_ENGINE", "plain")
    assert native_net() is None


def test_the_native_engine_where_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPLNODE_ENGINE", raising=False)
    assert (native_net() is not None) == (native_engine() is not None)
