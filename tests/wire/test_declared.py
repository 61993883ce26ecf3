"""Declared errors, there and back, between versions too."""

import pytest

from splnode.errors import CallError, Code, DeclaredError, EncodeError
from splnode.wire.declared import ErrorWriter
from splnode.wire.message import Contract
from tests.wire.conftest import CALCULATOR, protocol


class Overflow(DeclaredError):
    def __init__(self, limit):
        super().__init__(limit=limit)


def errors_of(**types):
    return {
        "protocol": "E",
        "namespace": "n",
        "types": [{"type": "error", "name": name, **rest} for name, rest in types.items()],
        "messages": {"go": {"request": [], "response": "null", "errors": list(types)}},
    }


def carried(server, client, error, classes=None):
    """An error written by the server's protocol, read by the client's."""
    own, theirs = Contract(protocol(client), errors=classes), Contract(protocol(server))
    message = theirs.protocol.messages["go"]
    data = theirs.error_writer(message).encode(error)
    reader = own.error_reader(own.protocol.messages["go"], message)
    found, end = reader.read(data[0] >> 1, data, 1)
    assert end == len(data)
    return found


def test_declared_errors():
    contract = Contract(CALCULATOR, errors={"Overflow": Overflow})
    add = CALCULATOR.messages["add"]
    assert contract.error_writer(add).encode(Overflow(7)) == b"\x02\x0e"
    assert contract.error_writer(add).encode(type("DivisionByZero", (DeclaredError,), {})(self="a")) == b"\x04\x02a"
    with pytest.raises(EncodeError, match="message echo does not declare the error Overflow"):
        contract.error_writer(CALCULATOR.messages["echo"]).encode(Overflow(7))
    error, _ = contract.error_reader(add, add).read(1, b"\x0e", 0)
    assert type(error) is Overflow
    assert error.limit == 7
    error, _ = contract.error_reader(add, add).read(2, b"\x02a", 0)
    assert isinstance(error, DeclaredError)
    assert (error.schema_name, error.value) == ("org.example.DivisionByZero", {"self": "a"})
    again, _ = contract.error_reader(add, add).read(2, b"\x02a", 0)
    assert type(again) is type(error)


def test_a_class_may_be_named_otherwise_than_its_error():
    class TooMuch(DeclaredError):
        pass

    writer = ErrorWriter(CALCULATOR.messages["add"], {"org.example.Overflow": TooMuch}, Contract(CALCULATOR).limits)
    assert writer.encode(TooMuch(limit=7)) == b"\x02\x0e"


def test_errors_between_versions():
    limit, text = {"fields": [{"name": "limit", "type": "int"}]}, {"fields": [{"name": "text", "type": "string"}]}
    wide = {"fields": [{"name": "limit", "type": "long"}, {"name": "unit", "type": "string", "default": "m"}]}
    make = {name: type(name, (DeclaredError,), {}) for name in ("A", "B", "C")}
    found = carried(errors_of(A=limit, B=text), errors_of(B=text, A=wide), make["A"](limit=3))
    assert (found.schema_name, found.value) == ("n.A", {"limit": 3, "unit": "m"})
    # Another namespace, and another name with an alias
    found = carried(errors_of(A=limit), {**errors_of(A=wide), "namespace": "m"}, make["A"](limit=3))
    assert found.schema_name == "m.A"
    found = carried(errors_of(C=limit), errors_of(A={**wide, "aliases": ["C"]}), make["C"](limit=3))
    assert found.schema_name == "n.A"
    # What the client does not declare, or cannot take, is still told
    found = carried(errors_of(C=limit), errors_of(A=wide), make["C"](limit=3))
    assert isinstance(found, CallError)
    assert (found.code, found.message, found.remote) == (Code.UNKNOWN, "n.C: {'limit': 3}", True)
    found = carried(errors_of(A=text), errors_of(A=limit), make["A"](text="x"))
    assert isinstance(found, CallError)
