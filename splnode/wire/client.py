"""The client's end of a connection: calls in, bytes out; bytes in, answers out.

`start` sends the handshake with a ping (attempts and hashes: `greeting`); calls made before it is done wait.

HTTP has no connection of its own: every call carries its handshake, and one that was answered by NONE is
sent once more with the text (`Resend`).
"""

from collections import deque
from collections.abc import Mapping
from struct import Struct
from typing import Any, Final

from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code, DataError, LimitExceeded, LocalWireError, RemoteWireError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire import sasl
from splnode.wire.events import Event, Ready, Resend, Response
from splnode.wire.framing import LARGE, NettyReader, Reader, SpecReader, netty_frame, spec_frame
from splnode.wire.greeting import Greeting
from splnode.wire.handshake import read_response
from splnode.wire.message import (
    CANCEL_KEY,
    PEER_ANSWERS,
    PEER_ASKS,
    PEER_KEY,
    ClientCall,
    ClientPair,
    Contract,
    RequestWriter,
    read_failure,
)
from splnode.wire.metadata import metadata_codec
from splnode.wire.primitive import NO_METADATA, read_long

_NETTY: Final = Struct(">III")
_SERIALS: Final = 0x7FFFFFFF
"""Serials stay positive: to most peers they are signed words."""
_EMPTY: Final = b"\0"


class _Kept:
    """A call that waits for the handshake, or over HTTP for its answer, since it may have to be sent again."""

    __slots__ = ("attempt", "metadata", "payload", "writer")

    def __init__(self, writer: RequestWriter | None, metadata: bytes, payload: bytes) -> None:
        self.writer = writer  # None: a ping
        self.metadata = metadata
        self.payload = payload
        self.attempt = 1

    @property
    def one_way(self) -> bool:
        return self.writer is not None and self.writer.one_way

    def parts(self) -> list[bytes]:
        """Metadata, name and parameters, as far as they are not empty."""
        if self.writer is None:
            return [self.metadata, _EMPTY]
        return [self.metadata, self.writer.name, *self.writer.split(self.payload)]


class _Marker:
    """Stands in the table of calls for what is no call."""


_SILENT: Final = _Marker()
"""Answered, but nobody waits for it."""
_PING: Final = _Marker()


class ClientSession:
    """One connection, seen by the client. Not thread-safe; owns no socket, no clock and no task.

    `framing`: netty, spec and sasl are stateful (call `start` first); http makes each call one stateless
    message: responses come in the order of the calls, and `receive_eof` ends each body. `remembered` is what an
    earlier session to the same place learned, its `server_hash` and `server`: it saves a round trip.

    The holder sends `data_to_send` after `start`, `call`, `cancel`, `ping` and `receive_data`. After a
    RemoteWireError it closes; what was not answered is its own to fail, as it is at the end of the stream.
    """

    __slots__ = (
        "_answered", "_attempt", "_calls", "_denied", "_due", "_greeting", "_hello", "_limits", "_metadata", "_most",
        "_netty", "_next", "_out", "_pair", "_peer", "_reader", "_shaking", "_stateless", "_waiting", "_wrapped",
        "contract", "failed", "framing",
    )  # fmt: skip

    def __init__(
        self,
        contract: Contract,
        *,
        framing: str = "netty",
        remembered: tuple[bytes, Protocol] | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if framing not in ("netty", "spec", "sasl", "http"):
            raise LocalWireError(f"unknown framing {framing!r}; there are netty, spec, sasl and http")
        self.contract = contract
        self.framing = framing
        self.failed: RemoteWireError | None = None
        self._limits = limits
        self._most = limits.calls_per_connection
        self._netty = framing == "netty"
        self._metadata = metadata_codec(limits)
        self._stateless = framing == "http"
        self._reader: Reader = NettyReader(limits) if self._netty else SpecReader(limits)
        self._hello: bytes | None = b"" if framing == "sasl" else None  # the SASL answer so far
        self._out: list[bytes] = []
        self._calls: dict[int, ClientCall | _Kept | _Marker] = {}  # sent and not answered
        self._waiting: dict[int, _Kept] = {}  # made before the handshake was done
        self._due: deque[int] = deque()  # whose replies come next, where they come in order
        self._next = 0
        self._wrapped = False
        self._pair: ClientPair | None = None
        self._peer = False  # it is a splnode, and may be told to cancel
        self._greeting = Greeting(contract.protocol, remembered, limits)
        self._attempt = 0
        self._shaking = -1
        self._denied = False  # the last handshake was NONE
        self._answered = False  # this HTTP body has given its message

    @property
    def server(self) -> Protocol | None:
        """The server's protocol, once it is known."""
        return self._greeting.server

    @property
    def server_hash(self) -> bytes:
        """What the server calls its protocol: an opaque key, good for `remembered` and nothing else."""
        return self._greeting.server_hash

    @property
    def ready(self) -> bool:
        """True once calls go straight out; over HTTP always."""
        return self._stateless or self._pair is not None

    @property
    def refusal(self) -> CallError | None:
        """Why the server will not talk to us, once its last word in the handshake was NONE."""
        return self._greeting.refusal() if self._denied else None

    @property
    def in_flight(self) -> int:
        """Calls without an answer, those that wait for the handshake and those cancelled included."""
        return len(self._calls) + len(self._waiting)

    @property
    def room(self) -> int:
        """Calls that may be made until one is refused."""
        return self._most - self.in_flight

    @property
    def full(self) -> bool:
        """True where the next call would be refused."""
        return len(self._calls) + len(self._waiting) >= self._most

    # -- out

    def start(self) -> None:
        """Queues the negotiation and the handshake. Once, and before anything else; not over HTTP."""
        if self._stateless or self._attempt:
            raise LocalWireError("start is for stateful framings, and once only")
        if self.framing == "sasl":
            self._out.append(sasl.start())
        self._shake()

    def call(self, message: str, params: Mapping[str, Any], metadata: Mapping[str, bytes] | None = None) -> int:
        """Sends a call, or keeps it until the handshake is done; its serial.

        DataError: the parameters do not fit or are too large. CallError: neither our protocol nor the server's
        has such a message, or they do not fit. LocalWireError: too many calls in flight. Nothing was sent then.
        """
        pair = self._pair
        if pair is None or not self._netty:
            return self._call(message, params, metadata)
        call = pair.calls.get(message) or pair.prepare(message)
        request = call.request
        calls = self._calls
        if len(calls) >= self._most:
            raise self._too_many()
        head = self._metadata.write(metadata) + request.name if metadata else request.plain
        payload = request.encode(params)
        length = len(head) + len(payload)
        if length > self._limits.message_bytes:
            raise self._too_large(length)
        serial = self._serial()
        if length < LARGE:
            self._out.append(b"".join((_NETTY.pack(serial, 1, length), head, payload)))
        else:
            self._out += (_NETTY.pack(serial, 1, length) + head, payload)
        if not request.one_way:
            calls[serial] = call
        return serial

    def ping(self) -> int:
        """Asks whether the server is there; a Response with no value says so. Not over HTTP."""
        if self._stateless:
            raise LocalWireError("there is no ping over http")
        return self._keep_or_send(_Kept(None, _EMPTY, b""))

    def expects_reply(self, serial: int) -> bool:
        """Whether a Response will come. False: one-way, or answered, or cancelled."""
        kept = self._waiting.get(serial)
        if kept is not None:
            return not kept.one_way
        return self._calls.get(serial, _SILENT) is not _SILENT

    def cancel(self, serial: int) -> None:
        """Forgets a call: no Response will come. A splnode server is told, where the framing can say it."""
        if self._waiting.pop(serial, None) is not None or self._calls.get(serial, _SILENT) is _SILENT:
            return
        self._calls[serial] = _SILENT
        if self._peer and self._netty:
            ping = self._serial()
            self._calls[ping] = _SILENT
            self._out.append(netty_frame(ping, self._metadata.write({CANCEL_KEY: b"%d" % serial}) + _EMPTY))

    def data_to_send(self) -> list[bytes]:
        """What is to be written now, in order; each byte is given once. Over HTTP each item is one body."""
        out = self._out
        if out:
            self._out = []
        return out

    def _call(self, message: str, params: Mapping[str, Any], metadata: Mapping[str, bytes] | None) -> int:
        writer = self.contract.request_writer(message)
        if self._pair is not None and not self._stateless:  # over HTTP the server may be another by now
            self._pair.prepare(message)
        kept = _Kept(writer, self._metadata.write(metadata), writer.encode(params))
        length = len(kept.metadata) + len(writer.name) + len(kept.payload)
        if length > self._limits.message_bytes:
            raise self._too_large(length)
        return self._keep_or_send(kept)

    def _keep_or_send(self, kept: _Kept) -> int:
        if self._denied:
            raise self._greeting.refusal()
        if self.full and kept.writer is not None:  # a ping goes past: it asks whether those in flight have any hope
            raise self._too_many()
        serial = self._serial()
        if self.ready:
            self._send(serial, kept)
        else:
            self._waiting[serial] = kept
        return serial

    def _send(self, serial: int, kept: _Kept) -> None:
        writer = kept.writer
        if self._stateless:
            self._post(serial, kept)
            return
        call: ClientCall | _Marker = _PING
        if writer is not None:
            assert self._pair is not None  # stateful, and ready
            call = self._pair.prepare(writer.message.name)  # before anything is queued: it may not fit this server
        if self._netty:
            name = _EMPTY if writer is None else writer.name
            self._out.append(netty_frame(serial, b"".join((kept.metadata, name, kept.payload))))
        else:
            self._out.append(spec_frame(*kept.parts()))
        if not kept.one_way:
            self._expect(serial, call)

    def _expect(self, serial: int, call: ClientCall | _Kept | _Marker) -> None:
        self._calls[serial] = call
        if not self._netty:
            self._due.append(serial)

    def _post(self, serial: int, kept: _Kept) -> None:
        """One HTTP body: handshake and call."""
        self._out.append(spec_frame(self._greeting.request(kept.attempt), *kept.parts()))
        self._expect(serial, kept)

    def _shake(self) -> None:
        """The handshake, with a ping behind it."""
        self._attempt += 1
        serial = self._shaking = self._serial()
        handshake = self._greeting.request(self._attempt)
        if self._netty:
            self._out.append(netty_frame(serial, handshake + self._metadata.write({PEER_KEY: PEER_ASKS}) + _EMPTY))
        else:
            self._out.append(spec_frame(handshake, _EMPTY, _EMPTY))

    def _serial(self) -> int:
        serial = self._next
        while serial in self._calls or serial in self._waiting:
            serial = (serial + 1) & _SERIALS
        self._next = (serial + 1) & _SERIALS
        if serial == _SERIALS:
            self._wrapped = True
        return serial

    # -- in

    def receive_data(self, data: bytes) -> list[Event]:
        """What the bytes mean. RemoteWireError: close the connection.

        Events before a fault are given first; `failed` is then set, and the next call raises it.
        """
        if self.failed is not None:
            raise self.failed
        events: list[Event] = []
        try:
            if self._hello is not None:
                data = self._negotiated(data)
            if data and not self._answered:
                self._reader.feed(data)
                self._read(events)
        except RemoteWireError as error:
            self.failed = error
            if not events:
                raise
        return events

    def receive_eof(self) -> list[Event]:
        """The end of the stream, or of one HTTP body. RemoteWireError within a message."""
        if self.failed is not None:
            raise self.failed
        if self._stateless and self._answered:
            self._answered = False
            self._reader = SpecReader(self._limits)
        elif self._stateless or not self._reader.idle:
            self.failed = RemoteWireError("the server's bytes ended within a message")
            raise self.failed
        return []

    def _negotiated(self, data: bytes) -> bytes:
        """SASL: what follows the server's consent."""
        assert self._hello is not None  # its caller looked
        self._hello += data
        end = sasl.read_reply(self._hello)
        if end is None:
            return b""
        data, self._hello = self._hello[end:], None
        return data

    def _read(self, events: list[Event]) -> None:
        reader, calls = self._reader, self._calls
        while messages := reader.take(1 if self._stateless else self._most):
            for serial, body in messages:
                if self._pair is None and not self._stateless:
                    self._handshake(serial, body, events)
                    continue
                if not self._netty:
                    if not self._due:
                        raise RemoteWireError(f"a response of {len(body)} bytes, and no call is open")
                    serial = self._due.popleft()
                call = calls.pop(serial, None)
                if type(call) is not ClientCall:
                    self._rare(serial, call, body, events)
                elif body.startswith(b"\0\0"):  # no metadata, no error
                    events.append(self._value(serial, call, body, 2, NO_METADATA))
                else:
                    events.append(self._answer(serial, call, body, 0))
            if self._stateless:
                self._answered = True
                reader.rest()  # whatever follows the first terminator
                return

    def _rare(self, serial: int, call: _Kept | _Marker | ClientCall | None, body: bytes, events: list[Event]) -> None:
        """A reply to something else than a plain call of a stateful connection."""
        if isinstance(call, _Kept):
            self._stateless_reply(serial, call, body, events)
        elif call is _PING:
            metadata, position = self._metadata.read(body, 0)
            error = None if body[position : position + 1] == b"\0" else self._failure(body, position, metadata)
            events.append(Response(serial, None, error, metadata))
        elif call is None and not self._wrapped and serial >= self._next:
            raise RemoteWireError(f"a response to serial {serial}, which was never sent")
        # Else it was cancelled, or the server answers what is one-way to us: its own text may say otherwise.

    def _answer(self, serial: int, call: ClientCall, body: bytes, start: int) -> Response:
        metadata, position = self._metadata.read(body, start)
        flag = body[position : position + 1]
        if flag == b"\0":
            return self._value(serial, call, body, position + 1, metadata)
        if flag != b"\x01":
            raise RemoteWireError(f"the error flag of a response is 00 or 01, not {flag.hex() or 'missing'}")
        position += 1
        try:
            index, position = read_long(body, position)
            if index == 0:
                return Response(serial, None, read_failure(body, position, metadata)[0], metadata)
            error, end = call.errors.read(index, body, position)
        except (DataError, RemoteWireError) as fault:  # the frame was fine: the connection goes on
            return Response(serial, None, _unreadable(call, "error", str(fault)), metadata)
        if end != len(body):
            return Response(serial, None, _unreadable(call, "error", f"{len(body) - end} bytes too many"), metadata)
        return Response(serial, None, error, metadata)

    def _value(self, serial: int, call: ClientCall, body: bytes, start: int, metadata: Mapping[str, bytes]) -> Response:
        try:
            value, end = call.decode(body, start)
        except DataError as fault:
            return Response(serial, None, _unreadable(call, "response", str(fault)), metadata)
        if end != len(body):
            return Response(serial, None, _unreadable(call, "response", f"{len(body) - end} bytes too many"), metadata)
        return Response(serial, value, None, metadata)

    def _failure(self, body: bytes, position: int, metadata: Mapping[str, bytes]) -> CallError:
        """A system error where no declared one can be."""
        try:
            index, position = read_long(body, position + 1)
            if index == 0:
                return read_failure(body, position, metadata)[0]
        except RemoteWireError:
            pass
        return CallError(Code.UNKNOWN, "the server answers with an error that cannot be read", remote=True)

    # -- handshake

    def _handshake(self, serial: int, body: bytes, events: list[Event]) -> None:
        if self._shaking < 0:
            raise RemoteWireError("a response, and nothing was asked")
        if self._netty and serial != self._shaking:
            raise RemoteWireError(f"a response to serial {serial} before the handshake {self._shaking} is answered")
        self._shaking = -1
        response, position = read_response(body, self._limits)
        server = self._greeting.learn(response)
        if server is None:
            if self._greeting.again(self._attempt):
                self._shake()
            else:
                self._give_up(events)
            return
        if position < len(body):
            metadata, _ = self._metadata.read(body, position)
            self._peer = metadata.get(PEER_KEY) == PEER_ANSWERS
        self._pair = self.contract.calling(server)
        events.append(Ready(server))
        waiting, self._waiting = self._waiting, {}
        for each, kept in waiting.items():
            try:
                self._send(each, kept)
            except CallError as error:
                if not kept.one_way:
                    events.append(Response(each, None, error))

    def _give_up(self, events: list[Event]) -> None:
        self._denied = True
        waiting, self._waiting = self._waiting, {}
        events.extend(
            Response(serial, None, self._greeting.refusal()) for serial, kept in waiting.items() if not kept.one_way
        )

    def _stateless_reply(self, serial: int, kept: _Kept, body: bytes, events: list[Event]) -> None:
        """HTTP: the handshake and the answer in one."""
        response, position = read_response(body, self._limits)
        unknown, writer = self.server is None, kept.writer
        server = self._greeting.learn(response)
        if server is None:
            if self._greeting.again(kept.attempt):
                kept.attempt += 1
                self._post(serial, kept)
                events.append(Resend(serial))
            else:
                events.append(Response(serial, None, self._greeting.refusal()))
            return
        assert writer is not None  # there is no ping over HTTP
        if unknown:
            events.append(Ready(server))
        self._pair = self.contract.calling(server)
        try:
            call = self._pair.prepare(writer.message.name)
        except CallError as error:
            metadata, remote = NO_METADATA, error
            if position < len(body):
                metadata, at = self._metadata.read(body, position)
                if body[at : at + 1] == b"\x01":
                    remote = self._failure(body, at, metadata)
                    if remote.code is Code.UNKNOWN:  # it has no codes, but we see what it meant
                        remote = CallError(error.code, remote.message, remote=True, started=False)
            events.append(Response(serial, None, remote, metadata))
            return
        if position < len(body):
            events.append(self._answer(serial, call, body, position))
            return
        # Python's avro writes its system errors to nowhere.
        text = f"{writer.message.name} failed: the server answers with a handshake and nothing behind it"
        events.append(Response(serial, None, CallError(Code.UNKNOWN, text, remote=True), NO_METADATA))

    def _too_many(self) -> LocalWireError:
        return LocalWireError(f"{self.in_flight} calls are in flight (limit calls_per_connection = {self._most})")

    def _too_large(self, length: int) -> LimitExceeded:
        return LimitExceeded("message_bytes", self._limits.message_bytes, f"a request of {length} bytes")


def _unreadable(call: ClientCall, what: str, reason: str) -> CallError:
    return CallError(Code.INTERNAL, f"the {what} of {call.message.name} cannot be read: {reason}")
