"""The server's end of a connection: bytes in, requests out; answers in, bytes out.

```
detect ── sasl ──┐
   │             ▼
   ├────────► handshake ──► established: one pair of protocols; a new handshake may choose another
   │             └─ HTTP: one message, then done
   └─ http, tls: Handover
```

Rules that real clients force (measured: avsc, avro-js, Java, Python, Ruby, yaqc):

1. NONE always carries our text and hash, even if the client guessed the hash right.
2. A request with text is never answered by NONE: Java and avsc would loop for ever.
3. Text sent and serverHash right: BOTH, not CLIENT (Python and Ruby fail on CLIENT).
4. A handshake may come with no call behind it; on NONE the call is never run. Both get `00 00` behind the
   handshake, since yaqc needs it and nobody minds.
5. Compatibility is per message and lazy.
6. Whether to answer is decided by the client's text, on an established connection, for a message without
   a handshake. Everything else gets a full reply.
7. A client that lies about its hash is known on its own connection alone.
8. On an established connection a message of 34 bytes or more that starts with the clientHash seen there is
   a new handshake (Ruby sends one on every call).
9. The second request of a connection waits until its first handshake is answered.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Final

from splnode.errors import CallError, Code, DataError, DeclaredError, LimitExceeded, LocalWireError, RemoteWireError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire.bulk import Bulk, left_over, unfolding
from splnode.wire.directory import ClientProtocols, Directory
from splnode.wire.events import Cancel, Errand, Event, Request
from splnode.wire.framing import Apart, Body
from splnode.wire.handshake import SHORTEST_REQUEST, read_request
from splnode.wire.inbound import Inbound
from splnode.wire.intake import HEAVY, Intake
from splnode.wire.message import ServerCall, ServerPair
from splnode.wire.metadata import CANCEL_KEY, LOAD_KEY, PEER_ANSWERS, PEER_ASKS, PEER_KEY, metadata_codec
from splnode.wire.primitive import NO_METADATA, read_bytes
from splnode.wire.spec import SpecReader
from splnode.wire.welcome import Welcome

LONG_TEXT: Final = 16_384
"""Characters of a client's protocol from which on a message of it may take some ms to resolve."""


class ServerSession(Inbound):
    """One connection, seen by the server. Not thread-safe; owns no socket, no clock and no task.

    `framing` pins it (netty, spec, sasl or http); None detects it. A session with framing http is good for the
    one message of one POST, whose path is `path`. `service` is the listener's own (see `Directory`).

    The holder feeds `receive_data`, answers every Request once, and sends `data_to_send` after each of both.
    While there is `space` it may receive into that instead, and say so with `received`: large values are then
    copied less. While `full` it does not read on; once it is not any more it calls `receive_data(b"")`, since
    messages may be waiting inside. After a RemoteWireError it sends what is left to send and closes.

    A `cooperative` session costs its holder a few ms at a time: `receive_data` takes at most TURN messages, and what
    is left makes it `pending` (do not read on, and call `receive_data(b"")` when the others have had their turn);
    what one message can make long comes as an Errand. `reached` is told the limit for which a single call is refused.
    """

    __slots__ = (
        "_bulk", "_calls", "_client_hash", "_cooperative", "_directory", "_greeted", "_limits", "_metadata", "_pair",
        "_reached", "_welcome",
    )  # fmt: skip

    def __init__(
        self,
        directory: Directory,
        clients: ClientProtocols,
        *,
        framing: str | None = None,
        service: str | None = None,
        path: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        cooperative: bool = False,
        reached: Callable[[str], object] = str,
    ) -> None:
        super().__init__(framing, limits, cooperative=cooperative)
        self._reached = reached
        self._limits = limits
        self._metadata = metadata_codec(limits)
        self._directory = directory
        self._welcome = Welcome(directory, clients, service=service, path=path)
        self._pair: ServerPair | None = None
        self._calls: dict[bytes, ServerCall] = {}
        self._client_hash = b""
        self._greeted = False  # a handshake was accepted
        self._cooperative = cooperative
        self._bulk: Bulk | None = None  # parameters that are read by an errand

    @property
    def in_flight(self) -> int:
        """Calls that are not answered yet."""
        return self._open.count

    @property
    def brims(self) -> str:
        """The limit that keeps further calls waiting; empty if none does."""
        if self._open.full:
            return "connection_bytes"
        return "calls_per_connection" if self._open.count >= self._most else ""

    @property
    def established(self) -> bool:
        """True once a handshake was accepted: the client has shown that it speaks Avro."""
        return self._greeted

    @property
    def cancels(self) -> bool:
        """True for a splnode client: it cancels what it gives up, and never half-closes to wait for the rest."""
        return self._open.serials is not None

    def run_by(self, intake: Intake) -> None:
        """From now on `intake` runs the ordinary requests as they are read. For Netty framing, once established."""
        self._intake = intake
        intake.room = self._most - self._open.count
        intake.begin(self._client_hash, self._calls)

    def hold(self, serial: int) -> None:
        """A call of the intake is open for a while: until `release`, or its Request is answered."""
        self._open.hold(serial)
        if self._intake is not None:
            self._intake.room -= 1

    def release(self, serial: int) -> None:
        """The intake has answered it itself."""
        self._open.release(serial)
        if self._intake is not None:
            self._intake.room += 1

    def respond(self, request: Request, value: object, metadata: Mapping[str, bytes] | None = None) -> None:
        """Answers with a value. DataError (it does not fit, or is too large): nothing was queued, use `fail`."""
        if not request.open:
            raise LocalWireError(f"{request!r} was answered before")
        if not request.one_way:
            self._replies.value(request, value, metadata or NO_METADATA)
        self._settle(request)

    def fail(
        self, request: Request, error: CallError | DeclaredError, metadata: Mapping[str, bytes] | None = None
    ) -> None:
        """Answers with an error. DataError (not declared, fields that do not fit): nothing was queued."""
        if not request.open:
            raise LocalWireError(f"{request!r} was answered before")
        if not request.one_way:
            self._replies.error(request, error, metadata or NO_METADATA)
        self._settle(request)

    def _settle(self, request: Request) -> None:
        self._open.settle(request)
        self._answering = False
        if self._intake is not None:
            self._intake.room += 1

    def data_to_send(self) -> list[bytes]:
        """What is to be written now, in order; each byte is given once."""
        out = self._replies.take()
        if self._intake is not None and (answers := self._intake.take()):
            return [*out, answers]  # `out` may be the replies' own, which is empty
        return out

    # -- messages

    def _may_pass(self, body: Body) -> bool:
        """A ping goes past calls that wait for room, since it may cancel one; not where replies go in order."""
        if not self._replies.netty or isinstance(body, Apart):
            return False
        try:
            _, position = self._metadata.read(body, 0)
        except RemoteWireError:
            return False  # it may be a handshake
        return body[position:] == b"\0"

    def _locate(self, _serial: int, data: bytes) -> tuple[int, int] | None:
        """Where in the beginning of a message a large parameter begins, and how long it is."""
        if self._pair is None or data.startswith(self._client_hash):
            return None
        try:
            _, position = self._metadata.read(data, 0)
            name, position = read_bytes(data, position)
        except RemoteWireError:
            return None
        call = self._calls.get(name)
        return call.locate(data, position) if call is not None else None

    def _message_apart(self, serial: int, body: Apart, events: list[Event]) -> bool:
        """A call with a large parameter; False, and nothing has been done, if it is not ordinary."""
        if self._pair is None or body.rest.startswith(self._client_hash):
            return False
        if self._intake is not None and self._intake.run_apart(serial, body.rest, body.at, body.part):
            return True
        try:
            metadata, position = self._metadata.read(body.rest, 0)
            name, position = read_bytes(body.rest, position)
            call = self._calls[name]
            params, end = call.decode_apart(body.rest, position, body.at, body.part)
        except (RemoteWireError, KeyError, DataError, ValueError):
            return False
        if end != len(body.rest):
            return False
        self._accept(Request(serial, call, params, metadata, call.one_way, b""), len(body), events)
        return True

    def _message(self, serial: int, body: Body, events: list[Event]) -> None:
        if isinstance(body, Apart):
            if self._message_apart(serial, body, events):
                return
            body = body.whole()
        if self._pair is None or (body.startswith(self._client_hash) and len(body) >= SHORTEST_REQUEST):
            self._handshake(serial, body, events)
            return
        if body.startswith(b"\0"):
            metadata, position = NO_METADATA, 1
        else:
            metadata, position = self._metadata.read(body, 0)
        size = len(body)
        length = body[position] if position < size else 1
        end = position + 1 + (length >> 1)
        if length & 0x81 or end > size:  # long, negative or cut off
            name, end = read_bytes(body, position)
        else:
            name = body[position + 1 : end]
        if name:
            self._start(serial, name, metadata, body, end, b"", events)
        else:
            self._ping(serial, metadata, body, end, b"", events)

    def _handshake(self, serial: int, body: bytes, events: list[Event]) -> None:
        request, position = read_request(body, self._limits)
        metadata, name = NO_METADATA, b""
        if position < len(body):
            metadata, position = self._metadata.read(body, position)
            name, position = read_bytes(body, position)
        if self._cooperative and (read := self._welcome.reading(request)) is not None:
            self._send_out(read, len(request.client_protocol or ""), events)
            return
        client = self._welcome.client_of(request)
        contract = self._welcome.contract_for(request, client, name.decode(errors="replace"))
        pair = contract.serving(client) if client is not None else None
        if pair is not None and name and self._must_resolve(pair, name, events):
            return
        prefix = self._welcome.accept(request, client, contract)
        self._finished = self._stateless
        if pair is None:
            self._replies.pong(serial, prefix)
            return
        self._client_hash = request.client_hash
        self._pair, self._known = pair, True
        self._calls = pair.calls
        if self._intake is not None:
            self._intake.begin(self._client_hash, self._calls)
        if isinstance(self._reader, SpecReader):
            self._reader.early = None
        if name:
            self._start(serial, name, metadata, body, position, prefix, events)
        else:
            self._ping(serial, metadata, body, position, prefix, events)
        if self._away:  # the call is still to be read: all of this once more, when it is
            self._finished = False
            return
        if not self._greeted:
            self._greeted = True
            self._answering = self._open.count > 0

    def _ping(
        self, serial: int, metadata: Mapping[str, bytes], body: bytes, end: int, prefix: bytes, events: list[Event]
    ) -> None:
        if end != len(body):
            raise RemoteWireError(f"{len(body) - end} bytes behind a ping")
        answer = NO_METADATA
        if metadata:
            if metadata.get(PEER_KEY) == PEER_ASKS:
                answer = {PEER_KEY: PEER_ANSWERS}
                if self._replies.netty and self._open.serials is None:
                    self._open.serials = set()
            if metadata.get(LOAD_KEY) == PEER_ASKS and (load := self._directory.load()):
                answer = {**answer, LOAD_KEY: load}
            cancelled = _serial(metadata.get(CANCEL_KEY, b""))
            if self._open.serials is not None and cancelled in self._open.serials:
                events.append(Cancel(cancelled))
        self._replies.pong(serial, prefix, answer)

    def _start(
        self,
        serial: int,
        name: bytes,
        metadata: Mapping[str, bytes],
        body: bytes,
        position: int,
        prefix: bytes,
        events: list[Event],
    ) -> None:
        """A call: a Request, or the refusal of this one call, or an errand before it."""
        pair = self._pair
        assert pair is not None  # a handshake came first
        call = self._calls.get(name)
        if call is None:
            if self._must_resolve(pair, name, events):
                return
            found = pair.prepare(name)
            if isinstance(found, CallError):
                self._refuse(serial, found, pair.is_one_way(name), prefix)
                return
            call = found
        weight = 0
        try:
            params, end = call.decode(body, position)
            if end != len(body):
                raise left_over(len(body) - end)
        except DataError as error:
            bulk = self._read_all(error, call, body, position, events)
            if bulk is None:
                return
            if bulk.error is not None:
                if isinstance(bulk.error, LimitExceeded):
                    self._reached(bulk.error.limit)
                self._refuse(serial, _unreadable(call, bulk.error), call.one_way, prefix)
                return
            params, weight = bulk.params, bulk.weight
        # A handshake makes it a call that is answered, and over HTTP each message has one.
        request = Request(serial, call, params, metadata, call.one_way and not prefix, prefix)
        self._accept(request, len(body) + weight, events)

    def _accept(self, request: Request, size: int, events: list[Event]) -> None:
        if request.one_way:
            self._replies.skip(request.serial)
        self._open.add(request, size if size >= HEAVY else 0)
        self._halted = self._open.full
        events.append(request)

    def _refuse(self, serial: int, error: CallError, one_way: bool, prefix: bytes) -> None:
        """Answers a call that was never a Request."""
        if one_way and not prefix:
            self._replies.skip(serial)
        else:
            self._replies.refuse(serial, prefix, error)

    # -- errands

    def _must_resolve(self, pair: ServerPair, name: bytes, events: list[Event]) -> bool:
        """Whether a message of this pair is still to be resolved, by an errand."""
        size = len(pair.client.text)
        if not self._cooperative or size < LONG_TEXT or not pair.is_slow(name):
            return False
        self._send_out(lambda: pair.prepare(name), size, events)
        return True

    def _read_all(
        self, error: DataError, call: ServerCall, body: bytes, start: int, events: list[Event]
    ) -> Bulk | None:
        """The parameters that could not be read at once, or what is wrong with them; None: an errand reads them."""
        bulk, self._bulk = self._bulk, None
        if bulk is not None:
            return bulk
        decode = unfolding(error, call)
        bulk = Bulk(decode or call.decode, body, start, self._limits.nodes)
        if decode is None:
            bulk.error = error
        elif self._cooperative:
            self._bulk = bulk
            self._send_out(bulk.run, sys.maxsize, events)
            return None
        else:
            bulk.run()
        return bulk

    def _send_out(self, work: Callable[[], object], size: int, events: list[Event]) -> None:
        def run() -> None:
            work()
            self._away = 0

        self._away = 1
        self._halted = True
        events.append(Errand(run, size))


def _unreadable(call: ServerCall, error: DataError) -> CallError:
    text = f"the parameters of {call.message.name} cannot be read: {error}"
    return CallError(Code.INVALID_ARGUMENT, text, started=False)


def _serial(text: bytes) -> int:
    """The serial that a client cancels; -1, which no call has, for anything else."""
    return int(text) if text.isdigit() and len(text) <= 10 else -1
