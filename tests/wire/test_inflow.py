"""Answers out of bytes, however those are cut. With the whole session: test_client; with calls: test_pipeline."""

from splnode.limits import Limits
from splnode.wire.events import Response
from splnode.wire.inflow import Inflow
from splnode.wire.message import ClientCall, Contract
from tests.wire.conftest import CALCULATOR, netty, pieces, string

CALL = Contract(CALCULATOR).calling(CALCULATOR).prepare("echo")


class Answers(Inflow):
    """Keeps what is not the pipeline's."""

    def __init__(self) -> None:
        super().__init__(Limits(), netty=True)
        self.seen: list[tuple[int, object, bytes]] = []

    def unusual(self, serial: int, entry: object, body: bytes) -> None:
        self.seen.append((serial, entry, body))

    def take(self, data: bytes) -> None:
        self._take_answers(data)


def test_messages_whole_and_in_pieces() -> None:
    data = netty(1, b"\0\0" + string("a")) + netty(2, b"\0", b"\0", string("b")) + netty(3, b"\0\0" + string("c"))
    for chunks in ([data], list(pieces(data)), [data[:20], data[20:]]):
        answers = Answers()
        answers.pipeline.expect(1, "one")
        for chunk in chunks:
            answers.take(chunk)
        assert answers.seen == [
            (1, "one", b"\0\0" + string("a")),
            (2, None, b"\0\0" + string("b")),
            (3, None, b"\0\0" + string("c")),
        ]


def test_between_messages_or_within() -> None:
    answers = Answers()
    frame = netty(1, b"\0\0" + string("a"))
    answers.take(frame + frame[:5])
    assert not answers.between
    answers.take(frame[5:])
    assert len(answers.seen) == 2


def test_an_answer_that_is_read() -> None:
    answers = Answers()
    assert isinstance(CALL, ClientCall)
    response = answers.read(7, CALL, b"\0\0" + string("x"))
    assert isinstance(response, Response)
    assert (response.serial, response.value) == (7, "x")


def test_a_large_value_has_space_of_its_own() -> None:
    answers = Answers()
    assert answers.space is None
    answers.pipeline.expect(1, CALL)
    text = "x" * 500_000
    frame = netty(1, b"\0\0" + string(text))
    answers.take(frame[:40_000])
    start = 40_000
    while start < len(frame):
        space = answers.space
        if space is None:
            answers.take(frame[start:])
            break
        count = min(len(space), len(frame) - start)
        space[:count] = frame[start : start + count]
        del space
        answers.received(count)
        answers.take(b"")
        start += count
    values = [event.value for event in answers._events if isinstance(event, Response)]
    assert values == [text] or answers.seen == [(1, CALL, b"\0\0" + string(text))]
