"""Contracts and pairs of protocols: codecs made when they are needed, errors there and back."""

import msgspec
import pytest

from splnode.errors import CallError, Code, DeclaredError, EncodeError, RemoteWireError
from splnode.wire.message import (
    Contract,
    ErrorReader,
    ErrorWriter,
    ServerCall,
    failure_metadata,
    read_failure,
)
from tests.wire.conftest import CALCULATOR, OTHER, calculator, protocol


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
    reader = ErrorReader(own, own.protocol.messages["go"], message)
    found, end = reader.read(data[0] >> 1, data, 1)
    assert end == len(data)
    return found


def test_pairs_are_made_once():
    contract = Contract(CALCULATOR)
    newer = protocol(calculator(doc="newer"))
    assert contract.serving(newer) is contract.serving(protocol(calculator(doc="newer")))
    assert contract.calling(newer) is contract.calling(newer)
    pair = contract.serving(CALCULATOR)
    call = pair.prepare(b"add")
    assert isinstance(call, ServerCall)
    assert pair.calls == {b"add": call}
    assert contract.calling(newer).prepare("add") is contract.calling(newer).prepare("add")


def test_unknown_names_leave_nothing_behind():
    pair = Contract(CALCULATOR).serving(OTHER)
    for number in range(100):
        refusal = pair.prepare(b"x%d" % number)
        assert isinstance(refusal, CallError)
        assert (refusal.code, refusal.started) == (Code.UNIMPLEMENTED, False)
    assert pair.calls == {}
    with pytest.raises(RemoteWireError, match="not UTF-8: ff"):
        pair.prepare(b"\xff")


def test_reasons_are_found_once_and_told_each_time():
    source = calculator()
    source["messages"]["add"]["request"] = [{"name": "a", "type": "string"}]
    pair = Contract(CALCULATOR).serving(protocol(source))
    first, second = pair.prepare(b"add"), pair.prepare(b"add")
    assert isinstance(first, CallError)
    assert first is not second
    assert first.message == second.message
    assert "org.example.Calculator.add" in first.message
    assert len(first.message) > 100


def test_client_pair_says_what_the_server_lacks():
    pair = Contract(CALCULATOR).calling(OTHER)
    with pytest.raises(CallError, match=r"UNIMPLEMENTED: the server's protocol .*Other has no message 'add'"):
        pair.prepare("add")
    with pytest.raises(CallError, match=r"UNIMPLEMENTED: org.example.Calculator has no message 'greet'"):
        pair.prepare("greet")
    source = calculator()
    source["messages"]["add"]["response"] = "string"
    with pytest.raises(CallError, match="FAILED_PRECONDITION: add does not fit") as caught:
        Contract(CALCULATOR).calling(protocol(source)).prepare("add")
    assert not caught.value.started


def test_types_named_for_parameters_and_results():
    class Point(msgspec.Struct):
        x: int

    source = {
        "protocol": "P",
        "types": [{"type": "record", "name": "Point", "fields": [{"name": "x", "type": "int"}]}],
        "messages": {"move": {"request": [{"name": "to", "type": "Point"}], "response": "Point"}},
    }
    contract = Contract(protocol(source), into={"move": {"to": Point}}, results={"move": Point})
    call = contract.serving(contract.protocol).prepare(b"move")
    assert isinstance(call, ServerCall)
    assert call.decode(b"\x06", 0) == ({"to": Point(3)}, 1)
    assert contract.calling(contract.protocol).prepare("move").decode(b"\x06", 0) == (Point(3), 1)


def test_parameters_one_by_one():
    writer = Contract(CALCULATOR).request_writer("add")
    assert writer.split(writer.encode({"a": 1, "b": 1000})) == [b"\x02", b"\xd0\x0f"]
    writer = Contract(CALCULATOR).request_writer("echo")
    assert writer.split(writer.encode({"text": "ab"})) == [b"\x04ab"]
    assert b"".join(Contract(CALCULATOR).request_writer("nothing").split(b"")) == b""


def test_declared_errors():
    contract = Contract(CALCULATOR, errors={"Overflow": Overflow})
    add = CALCULATOR.messages["add"]
    assert contract.error_writer(add).encode(Overflow(7)) == b"\x02\x0e"
    assert contract.error_writer(add).encode(type("DivisionByZero", (DeclaredError,), {})(self="a")) == b"\x04\x02a"
    with pytest.raises(EncodeError, match="message echo does not declare the error Overflow"):
        contract.error_writer(CALCULATOR.messages["echo"]).encode(Overflow(7))
    error, _ = ErrorReader(contract, add, add).read(1, b"\x0e", 0)
    assert type(error) is Overflow
    assert error.limit == 7
    error, _ = ErrorReader(contract, add, add).read(2, b"\x02a", 0)
    assert isinstance(error, DeclaredError)
    assert (error.schema_name, error.value) == ("org.example.DivisionByZero", {"self": "a"})
    again, _ = ErrorReader(contract, add, add).read(2, b"\x02a", 0)
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


def test_failures_on_the_wire():
    error = CallError(Code.RESOURCE_EXHAUSTED, "full", retry_after=0.25, started=False)
    metadata = failure_metadata(error)
    assert metadata == {"spl-code": b"RESOURCE_EXHAUSTED", "spl-retry-after-ms": b"250", "spl-started": b"0"}
    found, end = read_failure(b"\x08full", 0, metadata)
    assert end == 5
    assert (found.code, found.message, found.retry_after, found.started, found.remote) == (
        Code.RESOURCE_EXHAUSTED, "full", 0.25, False, True,
    )  # fmt: skip


def test_a_circle_says_how_long_it_was():
    metadata = failure_metadata(CallError(Code.FAILED_PRECONDITION, "", hops=16))
    assert metadata == {"spl-code": b"FAILED_PRECONDITION", "spl-hops": b"16"}
    assert read_failure(b"\0", 0, metadata)[0].hops == 16
    for other in ({"spl-hops": b"16"}, {**metadata, "spl-hops": b"-1"}, {**metadata, "spl-hops": b"9" * 5000}):
        assert read_failure(b"\0", 0, other)[0].hops == 0


@pytest.mark.parametrize("code", [b"", b"NO_SUCH", b"3", b"not_found", b"\xff"])
def test_a_foreign_failure_is_unknown(code):
    metadata = {"spl-code": code, "spl-retry-after-ms": b"soon", "spl-started": b"1"}
    found, _ = read_failure(b"\x04no", 0, metadata)
    assert (found.code, found.message, found.retry_after, found.started) == (Code.UNKNOWN, "no", None, True)
    with pytest.raises(RemoteWireError):
        read_failure(b"\x04n", 0, {})


def test_absurd_delays_are_cut():
    assert failure_metadata(CallError(Code.UNAVAILABLE, "", retry_after=-1))["spl-retry-after-ms"] == b"0"
    delay = failure_metadata(CallError(Code.UNAVAILABLE, "", retry_after=1e300))["spl-retry-after-ms"]
    assert len(delay) <= 16
    assert read_failure(b"\0", 0, {"spl-retry-after-ms": b"9" * 5000})[0].retry_after is None
