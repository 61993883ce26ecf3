"""splnode.limits: the numbers that the documents promise, and what a config may set."""

import pytest

from splnode.config import parse
from splnode.errors import ConfigError
from splnode.limits import DEFAULT_LIMITS, Limits


def test_the_numbers() -> None:
    assert vars(DEFAULT_LIMITS) == {
        "message_bytes": 4 * 1024 * 1024,
        "message_buffers": 1024,
        "protocol_bytes": 256 * 1024,
        "depth": 64,
        "nodes": 1_000_000,
        "schema_depth": 64,
        "schema_branches": 256,
        "client_protocols": 256,
        "calls_per_connection": 1000,
        "metadata_entries": 128,
        "held_bytes": 16 * 1024 * 1024,
        "connection_bytes": 8 * 1024 * 1024,
        "metadata_bytes": 65536,
        "header_bytes": 65536,
        "handshake_seconds": 5.0,
        "handshakes": 2048,
        "handshakes_per_address": 256,
        "connections": 16384,
        "connections_per_address": 1024,
        "idle_seconds": 86400.0,
        "calls_per_second": 0.0,
        "bytes_per_second": 0.0,
    }


def test_they_are_fixed() -> None:
    with pytest.raises(AttributeError):
        DEFAULT_LIMITS.depth = 1  # type: ignore[misc]  # that is what is tested
    with pytest.raises(AttributeError):
        del DEFAULT_LIMITS.depth
    assert hash(Limits()) == hash(DEFAULT_LIMITS)


def test_a_copy_with_a_change() -> None:
    assert DEFAULT_LIMITS.replace(depth=3) == Limits(depth=3) != DEFAULT_LIMITS
    with pytest.raises(TypeError, match="dept"):
        DEFAULT_LIMITS.replace(dept=3)


@pytest.mark.parametrize("name", vars(DEFAULT_LIMITS))
@pytest.mark.parametrize("value", [0, -1, 2**31])
def test_what_cannot_be_is_refused(name: str, value: int) -> None:
    if name.endswith("_per_second") and not value:
        assert getattr(parse(f"[limits]\n{name} = 0").limits, name) == 0  # any number
        return
    with pytest.raises(ConfigError, match=rf"limits\.{name}: .*{value}"):
        parse(f"[limits]\n{name} = {value}")


@pytest.mark.parametrize("name", ["depth", "schema_depth"])
def test_an_engine_can_recurse_as_deep_as_may_be_asked(name: str) -> None:
    assert getattr(parse(f"[limits]\n{name} = 512").limits, name) == 512
    with pytest.raises(ConfigError, match="513"):
        parse(f"[limits]\n{name} = 513")


def test_the_part_of_a_process() -> None:
    limits = Limits(connections=100, handshakes=2, connections_per_address=7)
    assert limits.part(3) == limits.replace(connections=34, handshakes=1)
    assert limits.part(1) == limits


def test_unknown_limits_are_refused() -> None:
    with pytest.raises(ConfigError, match="dept"):
        parse("[limits]\ndept = 1")
