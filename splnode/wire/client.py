"""The client's end of a connection: calls in, bytes out; bytes in, answers out.

`start` sends the handshake with a ping (attempts and hashes: `greeting`); calls made before it is done wait.
Everything in flight stands in the session's `pipeline`. A holder with an event loop puts its calls in there itself,
once the session is ready; those made by `call` are answered by events.

HTTP has no connection of its own: every call carries its handshake, and one that was answered by NONE is
sent once more with the text (`Resend`).
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

from splnode.avro.protocol import Protocol
from splnode.errors import CallError, LimitExceeded, LocalWireError, RemoteWireError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire import sasl
from splnode.wire.detect import ALERT, SPEAKS_TLS
from splnode.wire.events import Event, Ready, Response
from splnode.wire.greeting import Greeting
from splnode.wire.handshake import read_response
from splnode.wire.inflow import Inflow
from splnode.wire.kept import EMPTY, PING, SILENT, Kept, Marker
from splnode.wire.message import ClientCall, ClientPair, Contract
from splnode.wire.metadata import CANCEL_KEY, PEER_ANSWERS, PEER_ASKS, PEER_KEY, metadata_codec
from splnode.wire.netty import netty_frame
from splnode.wire.pipeline import write_request
from splnode.wire.posts import Posts
from splnode.wire.spec import SpecReader, spec_frame


class ClientSession(Inflow):
    """One connection, seen by the client. Not thread-safe; owns no socket, no clock and no task.

    `framing`: netty, spec and sasl are stateful (call `start` first); http makes each call one stateless
    message: responses come in the order of the calls, and `receive_eof` ends each body. `remembered` is what an
    earlier session to the same place learned, its `server_hash` and `server`: it saves a round trip. `login` is a name
    and a password that sasl proves by PLAIN, to whom nobody else listens.

    The holder sends `data_to_send` after `start`, `call`, `cancel`, `ping` and `receive_data`. After a
    RemoteWireError it closes; what was not answered is its own to fail, as it is at the end of the stream.
    """

    __slots__ = (
        "_answered", "_attempt", "_denied", "_due", "_greeting", "_hello", "_limits", "_login", "_metadata", "_netty",
        "_pair", "_peer", "_posts", "_shaking", "_stateless", "_waiting", "contract", "failed", "framing",
    )  # fmt: skip

    def __init__(
        self,
        contract: Contract,
        *,
        framing: str = "netty",
        remembered: tuple[bytes, Protocol] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        login: tuple[str, str] | None = None,
    ) -> None:
        if framing not in ("netty", "spec", "sasl", "http"):
            raise LocalWireError(f"unknown framing {framing!r}; there are netty, spec, sasl and http")
        if login is not None and framing != "sasl":
            raise LocalWireError(f"a login is proved by sasl, and this framing is {framing}")
        super().__init__(limits, netty=framing == "netty")
        self._login = login
        self.contract = contract
        self.framing = framing
        self.failed: RemoteWireError | None = None
        self._limits = limits
        self._netty = framing == "netty"
        self._metadata = metadata_codec(limits)
        self._stateless = framing == "http"
        self._hello: bytes | None = b"" if framing == "sasl" else None  # the SASL answer so far
        self._waiting: dict[int, Kept] = {}  # made before the handshake was done; they stand in the pipeline too
        self._due: deque[int] = deque()  # whose replies come next, where they come in order
        self._pair: ClientPair | None = None
        self._peer = False  # it is a splnode, and may be told to cancel
        self._greeting = Greeting(contract.protocol, remembered, limits)
        self._attempt = 0
        self._shaking = -1
        self._denied = False  # the last handshake was NONE
        self._answered = False  # this HTTP body has given its message
        self._posts = Posts(contract, self._greeting, self._answers, limits) if self._stateless else None

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
    def pipelined(self) -> bool:
        """True once calls may be put into the pipeline by the holder itself."""
        return self._netty and self._pair is not None

    @property
    def refusal(self) -> CallError | None:
        """Why the server will not talk to us, once its last word in the handshake was NONE."""
        return self._greeting.refusal() if self._denied else None

    @property
    def in_flight(self) -> int:
        """Calls without an answer, those that wait for the handshake and those cancelled included."""
        return self.pipeline.in_flight

    @property
    def room(self) -> int:
        """Calls that may be made until one is refused."""
        return self._most - self.pipeline.in_flight

    @property
    def full(self) -> bool:
        """True where the next call would be refused."""
        return self.pipeline.in_flight >= self._most

    # -- out

    def start(self) -> None:
        """Queues the negotiation and the handshake. Once, and before anything else; not over HTTP."""
        if self._stateless or self._attempt:
            raise LocalWireError("start is for stateful framings, and once only")
        if self.framing == "sasl":
            self.pipeline.write(sasl.start() if self._login is None else sasl.start_plain(*self._login))
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
        if self.full:
            raise self.too_many()
        head = self._metadata.write(metadata) + request.name if metadata else request.plain
        serial = write_request(self.pipeline, request, head, params, self._limits.message_bytes, self.too_large)
        if not request.one_way:
            self.pipeline.expect(serial, call)
        return serial

    def ping(self, metadata: Mapping[str, bytes] | None = None) -> int:
        """Asks whether the server is there; a Response with no value says so. Not over HTTP.

        `metadata` may ask for more: a server that does not know what for answers all the same.
        """
        if self._stateless:
            raise LocalWireError("there is no ping over http")
        return self._keep_or_send(Kept(None, self._metadata.write(metadata), b""))

    def expects_reply(self, serial: int) -> bool:
        """Whether a Response will come. False: one-way, or answered, or cancelled."""
        kept = self._waiting.get(serial)
        if kept is not None:
            return not kept.one_way
        return self.pipeline.entry(serial) not in (None, SILENT)

    def cancel(self, serial: int) -> None:
        """Forgets a call: no Response will come. A splnode server is told, where the framing can say it."""
        if self._waiting.pop(serial, None) is not None:
            self.pipeline.pop(serial)
            return
        if self.pipeline.entry(serial) in (None, SILENT):
            return
        self.pipeline.expect(serial, SILENT)
        if self._peer and self._netty:
            ping = self.pipeline.serial()
            self.pipeline.expect(ping, SILENT)
            self.pipeline.write(netty_frame(ping, self._metadata.write({CANCEL_KEY: b"%d" % serial}) + EMPTY))

    def data_to_send(self) -> list[bytes]:
        """What is to be written now, in order; each byte is given once. Over HTTP each item is one body."""
        return self.pipeline.take() if self._posts is None else self._posts.take()

    def head(self, metadata: Mapping[str, bytes]) -> bytes:
        """Metadata as it stands before the name of a message. EncodeError, LimitExceeded."""
        return self._metadata.write(metadata)

    def too_many(self) -> LocalWireError:
        """The error of one call more than may be in flight."""
        return LocalWireError(f"{self.in_flight} calls are in flight (limit calls_per_connection = {self._most})")

    def too_large(self, length: int) -> LimitExceeded:
        """The error of a request of so many bytes."""
        return LimitExceeded("message_bytes", self._limits.message_bytes, f"a request of {length} bytes")

    def _call(self, message: str, params: Mapping[str, Any], metadata: Mapping[str, bytes] | None) -> int:
        writer = self.contract.request_writer(message)
        if self._pair is not None and not self._stateless:  # over HTTP the server may be another by now
            self._pair.prepare(message)
        kept = Kept(writer, self._metadata.write(metadata), writer.encode(params))
        length = len(kept.metadata) + len(writer.name) + len(kept.payload)
        if length > self._limits.message_bytes:
            raise self.too_large(length)
        return self._keep_or_send(kept)

    def _keep_or_send(self, kept: Kept) -> int:
        if self._denied:
            raise self._greeting.refusal()
        if self.full and kept.writer is not None:  # a ping goes past: it asks whether those in flight have any hope
            raise self.too_many()
        serial = self.pipeline.serial()
        if self.ready:
            self._send(serial, kept)
        else:
            self._waiting[serial] = kept
            self.pipeline.expect(serial, kept)
        return serial

    def _send(self, serial: int, kept: Kept) -> None:
        writer = kept.writer
        if self._posts is not None:
            self._posts.post(kept)
            self._expect(serial, kept)
            return
        call: ClientCall | Marker = PING
        if writer is not None:
            assert self._pair is not None  # stateful, and ready
            call = self._pair.prepare(writer.message.name)  # before anything is queued: it may not fit this server
        if self._netty:
            name = EMPTY if writer is None else writer.name
            self.pipeline.write(netty_frame(serial, b"".join((kept.metadata, name, kept.payload))))
        else:
            self.pipeline.write(spec_frame(*kept.parts()))
        if not kept.one_way:
            self._expect(serial, call)

    def _expect(self, serial: int, call: ClientCall | Kept | Marker) -> None:
        self.pipeline.expect(serial, call)
        if not self._netty:
            self._due.append(serial)

    def _shake(self) -> None:
        """The handshake, with a ping behind it."""
        self._attempt += 1
        serial = self._shaking = self.pipeline.serial()
        handshake = self._greeting.request(self._attempt)
        if self._netty:
            asks = self._metadata.write({PEER_KEY: PEER_ASKS})
            self.pipeline.write(netty_frame(serial, handshake + asks + EMPTY))
        else:
            self.pipeline.write(spec_frame(handshake, EMPTY, EMPTY))

    # -- in

    def receive_data(self, data: bytes) -> list[Event]:
        """What the bytes mean. RemoteWireError: close the connection.

        Events before a fault are given first; `failed` is then set, and the next call raises it.
        """
        if self.failed is not None:
            raise self.failed
        events = self._events
        try:
            if not self.between:
                self._take_all(data)
            elif (done := self.pipeline.receive(data, self)) < len(data):
                self._take_rest(data[done:] if done else data)
        except RemoteWireError as error:
            self.failed, self.between = error, False
            if not events:
                raise
        if events:
            self._events = []
        return events

    def _take_all(self, data: bytes) -> None:
        """Whatever it is."""
        reader = self._reader
        if self._pair is None and data[:2] == ALERT and not reader.held:
            raise RemoteWireError(SPEAKS_TLS)
        if self._hello is not None:
            data = self._negotiated(data)
        if self._netty and self._pair is not None:
            self._take_answers(data)
        elif (data or reader.held) and not self._answered:
            reader.feed(data)
            self._read()
            reader.make_room()
        self.between = self.pipelined and reader.idle

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

    def unusual(self, serial: int, entry: object, body: bytes) -> None:
        """For the pipeline: an answer to nobody who waits in it."""
        if type(entry) is ClientCall:
            self._events.append(self._answers.read(serial, entry, body))
        elif isinstance(entry, Kept):
            assert self._posts is not None  # over other framings it is sent once, and is no Kept any more
            if self._posts.answer(serial, entry, body, self._events):
                self._expect(serial, entry)
        elif entry is PING:
            self._events.append(self._answers.pong(serial, body))
        elif entry is None and not self.pipeline.wrapped and serial >= self.pipeline.next:
            raise RemoteWireError(f"a response to serial {serial}, which was never sent")
        # Else it was cancelled, or the server answers what is one-way to us: its own text may say otherwise.

    def _negotiated(self, data: bytes) -> bytes:
        """SASL: what follows the server's consent."""
        assert self._hello is not None  # its caller looked
        self._hello += data
        end = sasl.read_reply(self._hello, sasl.ANONYMOUS if self._login is None else sasl.PLAIN)
        if end is None:
            return b""
        data, self._hello = self._hello[end:], None
        return data

    def _read(self) -> None:
        reader = self._reader
        while messages := reader.take(1 if self._stateless else self._most):
            for serial, body in messages:
                assert isinstance(body, bytes)  # nothing was set apart
                if self._pair is None and not self._stateless:
                    self._handshake(serial, body)
                    continue
                if not self._netty:
                    if not self._due:
                        raise RemoteWireError(f"a response of {len(body)} bytes, and no call is open")
                    serial = self._due.popleft()
                self.pipeline.answer(serial, body, self)
            if self._stateless:
                self._answered = True
                reader.rest()  # whatever follows the first terminator
                return

    # -- handshake

    def _handshake(self, serial: int, body: bytes) -> None:
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
                self._give_up()
            return
        if position < len(body):
            metadata, _ = self._metadata.read(body, position)
            self._peer = metadata.get(PEER_KEY) == PEER_ANSWERS
        self._pair = self.contract.calling(server)
        self.pipeline.establish(self._pair)
        self._events.append(Ready(server))
        waiting, self._waiting = self._waiting, {}
        for each, kept in waiting.items():
            self.pipeline.pop(each)
            try:
                self._send(each, kept)
            except CallError as error:
                if not kept.one_way:
                    self._events.append(Response(each, None, error))

    def _give_up(self) -> None:
        self._denied = True
        waiting, self._waiting = self._waiting, {}
        for serial, kept in waiting.items():
            self.pipeline.pop(serial)
            if not kept.one_way:
                self._events.append(Response(serial, None, self._greeting.refusal()))
