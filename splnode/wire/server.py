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

import gc
import sys
from collections.abc import Mapping
from struct import Struct
from typing import Any, Final

from splnode.avro.protocol import Protocol
from splnode.errors import (
    CallError,
    Code,
    DataError,
    DeclaredError,
    DecodeError,
    LimitExceeded,
    LocalWireError,
    RemoteWireError,
)
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire.directory import ClientProtocols, Directory
from splnode.wire.events import Cancel, Errand, Event, Handover, Request
from splnode.wire.framing import LARGE, Apart, Body, NettyReader, Reader, SpecReader
from splnode.wire.handshake import (
    BOTH,
    SHORTEST_REQUEST,
    HandshakeRequest,
    HandshakeResponse,
    Match,
    decide,
    read_request,
    write_response,
)
from splnode.wire.intake import HEAVY, Intake
from splnode.wire.message import CANCEL_KEY, PEER_ANSWERS, PEER_ASKS, PEER_KEY, ServerCall, ServerPair, failure_metadata
from splnode.wire.metadata import metadata_codec
from splnode.wire.opening import ELSEWHERE, Opening
from splnode.wire.primitive import NO_METADATA, read_bytes, write_string
from splnode.wire.replies import Replies

_SUCCESS: Final = Struct(">III2x")
"""Serial, one buffer, its length; then no metadata and the flag of a success."""
LONGEST_TEXT: Final = 16_384
"""Characters of a system error; the rest is cut off, since an error must get through."""
TURN: Final = 128
"""Messages that one `receive_data` takes: who sends faster than it is served must not keep the others waiting."""
SLICE: Final = 0.003
"""Seconds after which a turn ends, though fewer were taken: their handlers run in it."""
MOST_WEIGHT: Final = 4
"""Messages of the greatest length that one connection may have open together; further calls wait in the socket."""
BLOCK: Final = 64
"""Bytes of a Python object, about."""
POINTER: Final = 8
"""What a list needs for an item that was there already: null, a small number."""
LONG_TEXT: Final = 16_384
"""Characters of a client's protocol from which on a message of it may take some ms to resolve."""


class ServerSession:
    """One connection, seen by the server. Not thread-safe; owns no socket, no clock and no task.

    `framing` pins it (netty, spec, sasl or http); None detects it. A session with framing http is good for the
    one message of one POST, whose path is `path`. `service` is the listener's own (see `Directory`).

    The holder feeds `receive_data`, answers every Request once, and sends `data_to_send` after each of both.
    While there is `space` it may receive into that instead, and say so with `received`: large values are then
    copied less. While `full` it does not read on; once it is not any more it calls `receive_data(b"")`, since
    messages may be waiting inside. After a RemoteWireError it sends what is left to send and closes.

    A `cooperative` session costs its holder a few ms at a time: `receive_data` takes at most TURN messages, and what
    is left makes it `pending` (do not read on, and call `receive_data(b"")` when the others have had their turn);
    what one message can make long comes as an Errand.
    """

    __slots__ = (
        "_answering", "_away", "_calls", "_client", "_client_hash", "_clients", "_cooperative", "_directory", "_ended",
        "_fat", "_finished", "_found", "_greeted", "_guess", "_halted", "_intake", "_limits", "_longest", "_metadata",
        "_most", "_most_weight", "_open", "_opening", "_pair", "_path", "_reader", "_replies", "_service", "_stalled",
        "_stateless", "_turn", "_unfolded", "_weight", "failed", "framing", "in_flight", "pending", "unread",
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
    ) -> None:
        self.in_flight = 0
        self.pending = False
        self.unread = 0  # bytes that have come and are no whole message yet, or wait for their turn
        self.failed: RemoteWireError | None = None
        self._directory = directory
        self._clients = clients
        self._service = service
        self._path = path
        self._limits = limits
        self._most = limits.calls_per_connection
        self._longest = min(LONGEST_TEXT, limits.message_bytes // 8)
        self._metadata = metadata_codec(limits)
        self._replies = Replies()
        self._opening: Opening | None = Opening(framing, limits, self._replies.out)
        self._reader: Reader | None = None
        self.framing: str | None = framing
        self._stateless = framing == "http"
        self._finished = False  # stateless, and the message has come
        self._pair: ServerPair | None = None
        self._calls: dict[bytes, ServerCall] = {}
        self._client: Protocol | None = None
        self._client_hash = b""
        self._guess = b""  # the hash last told with NONE
        self._greeted = False  # a handshake was accepted
        self._answering = False  # the call that came with the first one runs, and all others wait (rule 9)
        self._stalled: list[tuple[int, Body]] = []  # taken, but they must wait for an answer or an errand
        self._cooperative = cooperative
        self._turn = TURN if cooperative else 2**31
        self._away = 0  # errands that are out
        self._halted = False  # the messages behind this one must wait
        self._found: tuple[str, Protocol | RemoteWireError] | None = None  # what the errand brought
        self._unfolded: tuple[tuple[Any, int] | DataError, int] | None = None  # parameters that it read, their weight
        self._fat = 0  # what the parameters weigh that were just read, if they are large for their bytes
        self._weight = 0
        self._most_weight = MOST_WEIGHT * limits.message_bytes
        self._ended = False
        self._open: set[int] | None = None  # serials, for a client that may cancel
        self._intake: Intake | None = None
        if self._opening.reader is not None:
            self._opened(self._opening)

    @property
    def established(self) -> bool:
        """True once a handshake was accepted: the client has shown that it speaks Avro."""
        return self._greeted

    @property
    def cancels(self) -> bool:
        """True for a splnode client: it cancels what it gives up, and never half-closes to wait for the rest."""
        return self._open is not None

    @property
    def full(self) -> bool:
        """True while reading on would only fill memory: answer calls first, then `receive_data(b"")`."""
        return bool(self._stalled) or (self._answering and self._reader is not None and self._reader.held > 0)

    def run_by(self, intake: Intake) -> None:
        """From now on `intake` runs the ordinary requests as they are read. For Netty framing, once established."""
        self._intake = intake
        intake.begin(self._client_hash, self._calls)

    def adopt(self, serial: int, call: ServerCall, params: Any, metadata: Mapping[str, bytes]) -> Request:
        """A call of the intake, which becomes one as all others: answer it."""
        self.in_flight += 1
        if self._open is not None:
            self._open.add(serial)
        return Request(serial, call, params, metadata, call.one_way, b"")

    @property
    def clear(self) -> bool:
        """True while nothing waits inside and nothing stands before what comes: the intake may have it at once."""
        waits = self.unread or self.pending or self._stalled or self._answering or self._away or self._ended
        return self._intake is not None and not waits and self._weight < self._most_weight

    def receive_data(self, data: bytes) -> list[Event]:
        """What the bytes mean. RemoteWireError: close the connection.

        Events before a fault are given first; `failed` is then set, and the next call raises it.
        """
        if self.failed is not None:
            raise self.failed
        events: list[Event] = []
        try:
            if self._reader is None:
                data = self._open_with(data, events)
            reader = self._reader
            if reader is not None:
                if data:
                    reader.feed(data)
                self._read(reader, events)
                if reader.large:
                    reader.make_room(self._locate)
                self.unread = reader.held + reader.total
        except RemoteWireError as error:
            self.failed = error
            if not events:
                raise
        return events

    @property
    def space(self) -> memoryview | None:
        """Where the next bytes are best received, as soon as there is something large to come; good until then."""
        return self._reader.space if self._reader is not None else None

    def received(self, count: int) -> None:
        """So many bytes were received into `space`; `receive_data(b"")` then says what they mean."""
        assert self._reader is not None  # whose space it was
        self._reader.received(count)

    def receive_eof(self) -> list[Event]:
        """The client sends no more; what is open can still be answered. RemoteWireError within a message."""
        self._ended = True
        if self._reader is None:
            if self._opening is not None and self._opening.rest and self.failed is None:
                self.failed = RemoteWireError("the connection ended before its first message")
            if self.failed is not None:
                raise self.failed
            return []
        return self.receive_data(b"")

    def respond(self, request: Request, value: object, metadata: Mapping[str, bytes] | None = None) -> None:
        """Answers with a value. DataError (it does not fit, or is too large): nothing was queued, use `fail`."""
        if not request.open:
            raise LocalWireError(f"{request!r} was answered before")
        if not request.one_way:
            payload = request.call.encode_parts(value)
            if metadata or request.prefix or not self._replies.netty:
                joined = payload if isinstance(payload, bytes) else b"".join(payload)
                self._reply(request, b"\0", joined, metadata or NO_METADATA)
            else:
                length = 2 + (len(payload) if isinstance(payload, bytes) else sum(map(len, payload)))
                if length > self._limits.message_bytes:
                    raise self._too_large(length)
                head = _SUCCESS.pack(request.serial, 1, length)
                if not isinstance(payload, bytes):
                    self._replies.out += (head + payload[0], *payload[1:])
                elif length < LARGE:
                    self._replies.out.append(head + payload)
                else:
                    self._replies.out += (head, payload)
        request.open = False  # as in `_settle`, without its call
        self.in_flight -= 1
        self._weight -= request.weight
        self._answering = False
        if self._open is not None:
            self._open.discard(request.serial)

    def fail(
        self, request: Request, error: CallError | DeclaredError, metadata: Mapping[str, bytes] | None = None
    ) -> None:
        """Answers with an error. DataError (not declared, fields that do not fit): nothing was queued."""
        if not request.open:
            raise LocalWireError(f"{request!r} was answered before")
        if not request.one_way:
            if isinstance(error, DeclaredError):
                body = request.call.contract.error_writer(request.call.message).encode(error)
                self._reply(request, b"\x01", body, metadata or NO_METADATA)
            else:
                self._reply(
                    request,
                    b"\x01",
                    self._system_error(error),
                    {**(metadata or {}), **failure_metadata(error)},
                )
        self._settle(request)

    def data_to_send(self) -> list[bytes]:
        """What is to be written now, in order; each byte is given once."""
        out = self._replies.take()
        if self._intake is not None and (answers := self._intake.take()):
            return [*out, answers]  # `out` may be the replies' own, which is empty
        return out

    # -- the beginning of a connection

    def _open_with(self, data: bytes, events: list[Event]) -> bytes:
        """Finds out what the connection speaks; what it leaves for the reader."""
        opening = self._opening
        if opening is None:
            raise LocalWireError(f"this connection was handed over as {self.framing}")
        opening.feed(data)
        self.framing = opening.framing
        if opening.reader is not None:
            return self._opened(opening)
        if opening.framing in ELSEWHERE:
            self._opening = None
            events.append(Handover(opening.framing, opening.rest))
        return b""

    def _opened(self, opening: Opening) -> bytes:
        self._opening = None
        self._reader = opening.reader
        self._replies.netty = opening.framing == "netty"
        return opening.rest

    # -- messages

    def _read(self, reader: Reader, events: list[Event]) -> None:
        self.pending = False
        left = self._turn
        while not self._answering and not self._finished and self._away < 1:
            room = self._most - self.in_flight - len(self._replies.ready)
            if self._weight >= self._most_weight:
                room = 0
            if left < 1:
                self.pending = reader.held > 0
                return
            if self._stalled:
                messages, self._stalled = self._stalled, []
            elif self._intake is not None and room > 0 and (taken := self._run(self._intake, reader, min(room, left))):
                left -= taken
                continue
            else:
                messages = reader.take(1 if room < 1 or self._pair is None else min(room, left))
            if not messages:
                break
            left -= len(messages)
            coming = iter(messages)
            for serial, body in coming:
                if room < 1 and not self._may_pass(body):
                    self._stalled = [(serial, body), *coming]
                    return
                self._message(serial, body, events)
                if self._halted:
                    self._halted = False
                    self._stalled = [(serial, body), *coming] if self._away else list(coming)
                    break
        if self._finished:
            reader.rest()  # what follows the first terminator
        elif self._ended and not self._answering and (self._stateless or not reader.idle) and not self._away:
            raise RemoteWireError("the connection ended within a message")

    def _run(self, intake: Intake, reader: Reader, most: int) -> int:
        """Lets the intake run what is ordinary; how much of the turn it took."""
        if not isinstance(reader, NettyReader):
            return 0
        data, start = reader.window()
        if not data:
            return 0
        reader.skip(intake.run(data, start, most, SLICE) - start)
        return self._turn if intake.over else intake.served

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
        try:
            metadata, position = self._metadata.read(body.rest, 0)
            name, position = read_bytes(body.rest, position)
            call = self._calls[name]
            params, end = call.decode_apart(body.rest, position, body.at, body.part)
        except (RemoteWireError, KeyError, DataError, ValueError):
            return False
        if end != len(body.rest):
            return False
        self._accept(serial, call, params, metadata, b"", len(body), events)
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
        # From here on as `_start` does it, without its calls: every request comes this way.
        size = len(body)
        length = body[position] if position < size else 1
        end = position + 1 + (length >> 1)
        if length & 0x81 or end > size:  # long, negative or cut off
            name, end = read_bytes(body, position)
        else:
            name = body[position + 1 : end]
        call = self._calls.get(name)
        if call is None:
            if not name:
                self._ping(serial, metadata, body, end, b"", events)
            elif not self._must_resolve(self._pair, name, events):
                self._start(serial, name, metadata, body, end, b"", events)
            return
        try:
            params, end = call.decode(body, end)
            if end != size:
                raise _left_over(size - end)
        except DataError as error:
            params = self._read_all(error, call, serial, body, end, b"", events)
            if params is None:
                return
        if call.one_way:
            self._replies.skip(serial)
        self.in_flight += 1
        if self._open is not None:
            self._open.add(serial)
        request = Request(serial, call, params, metadata, call.one_way, b"")
        if size >= HEAVY or self._fat:
            self._weigh(request, size)
        events.append(request)

    def _weigh(self, request: Request, size: int) -> None:
        request.weight = size + self._fat
        self._fat = 0
        self._weight += request.weight
        self._halted = self._weight >= self._most_weight

    def _handshake(self, serial: int, body: bytes, events: list[Event]) -> None:
        request, position = read_request(body, self._limits)
        metadata, name = NO_METADATA, b""
        if position < len(body):
            metadata, position = self._metadata.read(body, position)
            name, position = read_bytes(body, position)
        if self._must_read(request, events):
            return
        client = self._client_of(request)
        called = name.decode(errors="replace")
        contract = self._directory.choose(
            request, client, path=self._path, service=self._service, message=called, guess=self._guess
        )
        pair = contract.serving(client) if client is not None else None
        if pair is not None and name and self._must_resolve(pair, name, events):
            return
        own = contract.protocol
        match = decide(client is not None, request.server_hash == own.md5)
        prefix = BOTH if match is Match.BOTH else write_response(HandshakeResponse(match, own.text, own.md5))
        self._finished = self._stateless
        if client is None or pair is None:
            self._guess = own.md5 if request.server_hash != own.md5 else b""
            self._replies.send(serial, prefix, b"\0", b"\0", b"")
            return
        self._client, self._client_hash = client, request.client_hash
        self._pair = pair
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
            self._answering = self.in_flight > 0

    def _client_of(self, request: HandshakeRequest) -> Protocol | None:
        """The client's protocol: from its text, or known by its hash: here, as one of ours, or on this port."""
        text, client_hash = request.client_protocol, request.client_hash
        own = self._directory.by_hash(client_hash)
        if text is None:
            if self._client is not None and client_hash == self._client_hash:
                return self._client
            return own.protocol if own is not None else self._clients.get(client_hash)
        if own is not None and own.protocol.text == text:
            return own.protocol
        return self._clients.learn(client_hash, text, self._brought(text))

    # -- errands

    def _must_read(self, request: HandshakeRequest, events: list[Event]) -> bool:
        """Whether the text of this handshake is still to be read, by an errand."""
        text = request.client_protocol
        if not self._cooperative or text is None or self._clients.of_text(text) is not None:
            return False
        own = self._directory.by_hash(request.client_hash)
        if (own is not None and own.protocol.text == text) or (self._found is not None and self._found[0] == text):
            return False

        def read() -> None:
            try:
                self._found = text, self._clients.read(text)
            except RemoteWireError as error:
                self._found = text, error
            self._away = 0

        self._send_out(Errand(read, len(text)), events)
        return True

    def _must_resolve(self, pair: ServerPair, name: bytes, events: list[Event]) -> bool:
        """Whether a message of this pair is still to be resolved, by an errand."""
        size = len(pair.client.text)
        if not self._cooperative or size < LONG_TEXT or not pair.is_slow(name):
            return False

        def resolve() -> None:
            pair.prepare(name)
            self._away = 0

        self._send_out(Errand(resolve, size), events)
        return True

    def _read_all(
        self,
        error: DataError,
        call: ServerCall,
        serial: int,
        body: bytes,
        start: int,
        prefix: bytes,
        events: list[Event],
    ) -> dict[str, Any] | None:
        """The parameters that could not be read at once; None: they are being read by an errand, or never will."""
        if type(error) is LimitExceeded and error.limit == "nodes" and (decode := call.decode_all()) is not None:

            def unfold() -> None:
                before, collecting = sys.getallocatedblocks(), gc.isenabled()
                outcome: tuple[Any, int] | DataError
                gc.disable()  # there are no cycles in it, and to look for them takes ten times as long as to read it
                try:
                    outcome = decode(body, start)
                except DataError as caught:
                    outcome = caught.with_traceback(None)  # whose frames hold all that was read
                finally:
                    if collecting:
                        gc.enable()
                objects = max(0, sys.getallocatedblocks() - before) * BLOCK
                self._unfolded = outcome, objects + self._limits.nodes * POINTER
                self._away = 0

            if self._unfolded is None:
                if self._cooperative:
                    self._send_out(Errand(unfold, sys.maxsize), events)
                    return None
                unfold()
            assert self._unfolded is not None
            (outcome, fat), self._unfolded = self._unfolded, None
            if not isinstance(outcome, DataError):
                if outcome[1] == len(body):
                    self._fat = fat
                    params: dict[str, Any] = outcome[0]
                    return params
                outcome = _left_over(len(body) - outcome[1])
            error = outcome
        self._refuse(serial, _unreadable(call, error), call.one_way, prefix)
        return None

    def _send_out(self, errand: Errand, events: list[Event]) -> None:
        self._away = 1
        self._halted = True
        events.append(errand)

    def _brought(self, text: str) -> Protocol | None:
        """What the errand found in this text. RemoteWireError where that is no protocol."""
        if self._found is None or self._found[0] != text:
            return None
        found, self._found = self._found[1], None
        if isinstance(found, RemoteWireError):
            raise found
        return found

    def _ping(
        self, serial: int, metadata: Mapping[str, bytes], body: bytes, end: int, prefix: bytes, events: list[Event]
    ) -> None:
        if end != len(body):
            raise RemoteWireError(f"{len(body) - end} bytes behind a ping")
        answer = NO_METADATA
        if metadata:
            if metadata.get(PEER_KEY) == PEER_ASKS:
                answer = {PEER_KEY: PEER_ANSWERS}
                if self._replies.netty and self._open is None:
                    self._open = set()
            cancelled = _serial(metadata.get(CANCEL_KEY, b""))
            if self._open is not None and cancelled in self._open:
                events.append(Cancel(cancelled))
        self._replies.send(serial, prefix, self._metadata.write(answer), b"\0", b"")

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
        """A call: a Request, or the refusal of this one call."""
        pair = self._pair
        assert pair is not None  # a handshake came first
        call = self._calls.get(name)
        if call is None:
            found = pair.prepare(name)
            if isinstance(found, CallError):
                self._refuse(serial, found, pair.is_one_way(name), prefix)
                return
            call = found
        try:
            params, end = call.decode(body, position)
            if end != len(body):
                raise _left_over(len(body) - end)
        except DataError as error:
            params = self._read_all(error, call, serial, body, position, prefix, events)
            if params is None:
                return
        self._accept(serial, call, params, metadata, prefix, len(body), events)

    def _accept(
        self,
        serial: int,
        call: ServerCall,
        params: dict[str, Any],
        metadata: Mapping[str, bytes],
        prefix: bytes,
        size: int,
        events: list[Event],
    ) -> None:
        # A handshake makes it a call that is answered, and over HTTP each message has one.
        one_way = call.one_way and not prefix
        if one_way:
            self._replies.skip(serial)
        self.in_flight += 1
        if self._open is not None:
            self._open.add(serial)
        request = Request(serial, call, params, metadata, one_way, prefix)
        if size >= HEAVY or self._fat:
            self._weigh(request, size)
        events.append(request)

    # -- answers

    def _settle(self, request: Request) -> None:
        request.open = False
        self.in_flight -= 1
        self._weight -= request.weight
        self._answering = False
        if self._open is not None:
            self._open.discard(request.serial)

    def _refuse(self, serial: int, error: CallError, one_way: bool, prefix: bytes) -> None:
        """Answers a call that was never a Request."""
        if not one_way or prefix:
            self._replies.send(
                serial,
                prefix,
                self._metadata.write(failure_metadata(error)),
                b"\x01",
                self._system_error(error),
            )
        else:
            self._replies.skip(serial)

    def _reply(self, request: Request, flag: bytes, body: bytes, metadata: Mapping[str, bytes]) -> None:
        written = self._metadata.write(metadata)
        length = len(request.prefix) + len(written) + 1 + len(body)
        if length > self._limits.message_bytes:
            raise self._too_large(length)
        self._replies.send(request.serial, request.prefix, written, flag, body)

    def _system_error(self, error: CallError) -> bytes:
        return b"\0" + write_string(error.message[: self._longest])

    def _too_large(self, length: int) -> LimitExceeded:
        return LimitExceeded("message_bytes", self._limits.message_bytes, f"a response of {length} bytes")


def _left_over(count: int) -> DecodeError:
    return DecodeError(f"{count} bytes behind the parameters")


def _unreadable(call: ServerCall, error: DataError) -> CallError:
    text = f"the parameters of {call.message.name} cannot be read: {error}"
    return CallError(Code.INVALID_ARGUMENT, text, started=False)


def _serial(text: bytes) -> int:
    """The serial that a client cancels; -1, which no call has, for anything else."""
    return int(text) if text.isdigit() and len(text) <= 10 else -1
