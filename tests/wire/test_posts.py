"""Calls over HTTP as bodies. With the session around them: test_client."""

from splnode.errors import CallError, Code
from splnode.limits import DEFAULT_LIMITS
from splnode.wire.answer import AnswerReader
from splnode.wire.events import Event, Ready, Resend, Response
from splnode.wire.greeting import Greeting
from splnode.wire.kept import EMPTY, Kept
from splnode.wire.message import Contract
from splnode.wire.posts import Posts
from tests.wire.conftest import CALCULATOR, OTHER, handshake, spec, string

OWN = CALCULATOR.md5
BOTH = bytes(4)
NONE = b"\x04\x02" + string(OTHER.text) + b"\x02" + OTHER.md5 + b"\0"


def posts() -> tuple[Posts, Kept]:
    contract = Contract(CALCULATOR)
    greeting = Greeting(CALCULATOR, None, DEFAULT_LIMITS)
    kept = Kept(contract.request_writer("echo"), EMPTY, string("x"))
    return Posts(contract, greeting, AnswerReader(DEFAULT_LIMITS), DEFAULT_LIMITS), kept


def test_a_body_and_its_answer() -> None:
    made, kept = posts()
    made.post(kept)
    assert made.take() == [spec(handshake(OWN, OWN), b"\0", string("echo"), string("x"))]
    assert made.take() == []
    events: list[Event] = []
    assert not made.answer(3, kept, BOTH + b"\0\0" + string("x"), events)
    ready, response = events
    assert isinstance(ready, Ready)
    assert isinstance(response, Response)
    assert (response.serial, response.value, response.error) == (3, "x", None)


def test_none_is_answered_with_the_text_until_there_is_no_sense_in_it() -> None:
    made, kept = posts()
    made.post(kept)
    again, events = 0, list[Event]()
    while made.take() and made.answer(1, kept, NONE, events):
        again += 1
    assert again == 2
    assert [type(event) for event in events] == [Resend, Resend, Response]
    assert kept.attempt == 3
    error = events[-1].error  # type: ignore[union-attr]  # the Response
    assert isinstance(error, CallError)
    assert error.code is Code.FAILED_PRECONDITION


def test_a_handshake_and_nothing_behind_it() -> None:
    made, kept = posts()
    events: list[Event] = []
    assert not made.answer(1, kept, BOTH, events)
    error = events[-1].error  # type: ignore[union-attr]  # the Response
    assert isinstance(error, CallError)
    assert "nothing behind it" in error.message
