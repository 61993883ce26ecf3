import gc
import weakref

import pytest

from splnode.errors import CallError, Code
from splnode.wire.events import Request, Response
from splnode.wire.message import Contract, ServerCall
from splnode.wire.primitive import NO_METADATA
from tests.wire.conftest import CALCULATOR


def test_request_says_what_is_called():
    contract = Contract(CALCULATOR)
    call = contract.serving(CALCULATOR).prepare(b"add")
    assert isinstance(call, ServerCall)
    request = Request(7, call, {"a": 1, "b": 2}, NO_METADATA, False, b"")
    assert request.contract is contract
    assert request.message is CALCULATOR.messages["add"]
    assert repr(request) == "<Request 7 add>"
    assert request.open


def test_response_says_what_came():
    assert repr(Response(7, 42)) == "<Response 7 42>"
    assert "NOT_FOUND" in repr(Response(7, None, CallError(Code.NOT_FOUND, "gone")))


def test_a_response_gives_its_value_or_its_error():
    assert Response(7, 42).take() == 42
    with pytest.raises(CallError, match="gone"):
        Response(7, None, CallError(Code.NOT_FOUND, "gone")).take()


def test_an_error_that_was_raised_is_held_by_nobody():
    def caller():
        response = Response(7, None, CallError(Code.NOT_FOUND, "gone"))
        return response.take()

    gc.collect()
    gc.disable()
    try:
        try:
            caller()
        except CallError as error:
            held = weakref.ref(error)
        assert held() is None
    finally:
        gc.enable()
