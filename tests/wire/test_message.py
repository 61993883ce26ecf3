"""Contracts and pairs of protocols: codecs made when they are needed, errors there and back."""

import msgspec
import pytest

from splnode.errors import CallError, Code, RemoteWireError
from splnode.wire.message import Contract, ServerCall
from tests.wire.conftest import CALCULATOR, OTHER, calculator, protocol


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
