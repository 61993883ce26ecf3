"""HTTP, seen by the client: every call carries its handshake, and may have to be sent once more with the text."""

from splnode.errors import CallError, Code
from splnode.limits import Limits
from splnode.wire.answer import AnswerReader
from splnode.wire.events import Event, Ready, Resend, Response
from splnode.wire.greeting import Greeting
from splnode.wire.handshake import read_response
from splnode.wire.kept import Kept
from splnode.wire.message import Contract
from splnode.wire.spec import spec_frame


class Posts:
    """The bodies that are to be sent, and what comes back for each."""

    __slots__ = ("_answers", "_bodies", "_contract", "_greeting", "_limits")

    def __init__(self, contract: Contract, greeting: Greeting, answers: AnswerReader, limits: Limits) -> None:
        self._contract = contract
        self._greeting = greeting
        self._answers = answers
        self._limits = limits
        self._bodies: list[bytes] = []

    def post(self, kept: Kept) -> None:
        """Queues a body: handshake and call."""
        self._bodies.append(spec_frame(self._greeting.request(kept.attempt), *kept.parts()))

    def take(self) -> list[bytes]:
        """What is to be sent now, a body each."""
        bodies, self._bodies = self._bodies, []
        return bodies

    def answer(self, serial: int, kept: Kept, body: bytes, events: list[Event]) -> bool:
        """Reads a reply, handshake and answer in one, into `events`. True: the call was queued once more."""
        response, position = read_response(body, self._limits)
        unknown = self._greeting.server is None
        server = self._greeting.learn(response)
        if server is None:
            if self._greeting.again(kept.attempt):
                kept.attempt += 1
                self.post(kept)
                events.append(Resend(serial))
                return True
            events.append(Response(serial, None, self._greeting.refusal()))
            return False
        assert kept.writer is not None  # there is no ping over HTTP
        if unknown:
            events.append(Ready(server))
        name = kept.writer.message.name
        try:
            call = self._contract.calling(server).prepare(name)
        except CallError as error:
            events.append(self._answers.unfit(serial, error, body, position))
            return False
        if position < len(body):
            events.append(self._answers.read(serial, call, body, position))
        else:  # Python's avro writes its system errors to nowhere
            text = f"{name} failed: the server answers with a handshake and nothing behind it"
            events.append(Response(serial, None, CallError(Code.UNKNOWN, text, remote=True)))
        return False
