"""splnode.errors: the tree, the path of an error, and errors that a protocol declares."""

import copy
from typing import ClassVar

import pytest

from splnode import errors
from splnode.errors import (
    CallError,
    Code,
    DataError,
    DeclaredError,
    DecodeError,
    EncodeError,
    LimitExceeded,
    LocalWireError,
    RemoteWireError,
    SchemaError,
    SplnodeError,
    WireError,
)


class OutOfStock(DeclaredError):
    pass


class Renamed(DeclaredError):
    schema_name: ClassVar[str] = "com.acme.OutOfStock"


def test_all_have_one_root() -> None:
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, BaseException)]
    assert len(found) == 12
    assert all(issubclass(each, SplnodeError) for each in found)


@pytest.mark.parametrize("child", [EncodeError, DecodeError, LimitExceeded])
def test_data_errors(child: type) -> None:
    assert issubclass(child, DataError)


def test_wire_errors() -> None:
    assert issubclass(LocalWireError, WireError)
    assert issubclass(RemoteWireError, WireError)


def test_a_schema_error_lists_its_reasons_behind_its_path() -> None:
    error = SchemaError(["no name", "no type"], "types[3]")
    assert str(error) == "types[3]: no name; no type"
    assert (error.path, error.reasons) == ("types[3]", ("no name", "no type"))
    assert str(SchemaError("no name")) == "no name"


def test_the_path_of_a_data_error_grows_outwards() -> None:
    error = DecodeError("bad")
    assert (str(error), error.path) == ("bad", "")
    for step in (".count", "[3]", '["x"]', ".headers", ".request"):
        error.at(step)
    assert error.path == 'request.headers["x"][3].count'
    assert str(error) == 'request.headers["x"][3].count: bad'
    assert error.reason == "bad"


def test_a_limit_says_its_name_and_value() -> None:
    error = LimitExceeded("depth", 64, "nested too deep")
    assert str(error) == "nested too deep (limit depth = 64)"
    assert (error.limit, error.allowed) == ("depth", 64)


def test_the_codes_are_those_of_grpc() -> None:
    assert [code.value for code in Code] == list(range(1, 17))
    assert (Code.CANCELLED, Code.UNAVAILABLE, Code.UNAUTHENTICATED) == (1, 14, 16)


def test_a_call_error_names_what_was_tried() -> None:
    error = CallError(Code.UNAVAILABLE, "nobody answers", attempts=["a: refused", "b: timeout"])
    assert str(error) == "UNAVAILABLE: nobody answers\n  a: refused\n  b: timeout"
    assert (error.remote, error.started, error.retry_after) == (False, True, None)


def test_a_declared_error_has_its_fields() -> None:
    error = OutOfStock(sku="A1", count=2)
    assert (error.sku, error.count) == ("A1", 2)
    assert error.value == {"sku": "A1", "count": 2}
    assert str(error) == "OutOfStock(sku='A1', count=2)"
    with pytest.raises(AttributeError, match="OutOfStock has no field 'size'"):
        error.size  # noqa: B018 - reading it is the test


def test_a_declared_error_is_named_by_its_class_or_by_itself() -> None:
    class Again(Renamed):
        pass

    assert OutOfStock.schema_name == "OutOfStock"
    assert Renamed.schema_name == "com.acme.OutOfStock"
    assert Again.schema_name == "Again"


@pytest.mark.parametrize(
    "error",
    [
        OutOfStock(sku="A1"),
        LimitExceeded("depth", 64, "nested too deep"),
        EncodeError("bad"),
        SchemaError(["no name", "no type"], "types[3]"),
        CallError(Code.ABORTED, "no", attempts=["a"], retry_after=1.0, started=False),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_copying(error: SplnodeError) -> None:
    """Test runners and futures copy them."""
    if isinstance(error, DataError):
        error.at(".x")
    again = copy.copy(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
