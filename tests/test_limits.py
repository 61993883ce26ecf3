"""splnode.limits: the numbers that the documents promise, and what a config may set."""

import msgspec
import pytest

from splnode.limits import DEFAULT_LIMITS, Limits


def test_the_numbers() -> None:
    assert msgspec.to_builtins(DEFAULT_LIMITS) == {
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
        "held_bytes": 67108864,
        "handshake_seconds": 5.0,
    }


def test_they_are_fixed() -> None:
    with pytest.raises(AttributeError):
        DEFAULT_LIMITS.depth = 1  # type: ignore[misc]  # that is what is tested
    assert hash(Limits()) == hash(DEFAULT_LIMITS)


@pytest.mark.parametrize("name", Limits.__struct_fields__)
@pytest.mark.parametrize("value", [0, -1, 2**31])
def test_what_cannot_be_is_refused(name: str, value: int) -> None:
    with pytest.raises(msgspec.ValidationError, match=name):
        msgspec.convert({name: value}, Limits)


@pytest.mark.parametrize("name", ["depth", "schema_depth"])
def test_an_engine_can_recurse_as_deep_as_may_be_asked(name: str) -> None:
    assert getattr(msgspec.convert({name: 512}, Limits), name) == 512
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({name: 513}, Limits)


def test_unknown_limits_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="dept"):
        msgspec.convert({"dept": 1}, Limits)
