"""The call format: what stands behind the handshake, and the codecs of each message.

```
request    map<bytes> metadata, string name, parameters
response   map<bytes> metadata, 00, response
           map<bytes> metadata, 01, the index of the error union, error      (01 00 string: a system error)
```

Two protocols meet on a connection, ours and the peer's, and need not be the same. A pair of them is
resolved message by message, and each only when it is called: one that does not fit harms nobody else.
(Avro 1.12 specification, "Call Format", "Schema Resolution")
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from splnode.avro.codec import Decoder, Encoder, decoder, encoder
from splnode.avro.protocol import Message, Protocol
from splnode.avro.schema import Schema
from splnode.errors import CallError, Code, DeclaredError, RemoteWireError, SchemaError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire.cache import BoundedCache
from splnode.wire.declared import Decode, Encode, ErrorReader, ErrorWriter
from splnode.wire.primitive import write_string

PAIR_TEXTS: Final = 4
"""Texts of the greatest length that one cache may hold together: a plan takes up to 50 times the memory of its text."""

QUICK_NODES: Final = 32_768
"""What a request may weigh that is read at once, in some 3 ms; a heavier one is read aside (up to `limits.nodes`)."""


class ServerCall:
    """How one message of one client is read and answered. `one_way` is the word of the client's text.

    `decode` gives up with LimitExceeded("nodes") after QUICK_NODES; `decode_all` goes on to the limit.
    """

    __slots__ = (
        "_decode_all", "contract", "decode", "decode_apart", "encode", "encode_parts", "locate", "message", "one_way",
    )  # fmt: skip

    def __init__(
        self,
        contract: "Contract",
        message: Message,
        parameters: Decoder,
        response: Encoder,
        one_way: bool,
        decode_all: Callable[[], Decode] | None = None,
    ) -> None:
        self.contract = contract
        self.message = message
        self.decode: Decode = parameters.decode
        self.decode_apart = parameters.decode_apart
        self.locate = parameters.locate
        self.encode: Encode = response.encode
        self.encode_parts = response.encode_parts
        self.one_way = one_way
        self._decode_all = decode_all

    def decode_all(self) -> Decode | None:
        """Made when it is needed, which is rare; None where `decode` goes to the limit itself."""
        return self._decode_all() if self._decode_all is not None else None


class ClientCall:
    """How one message is sent to one server and its answer read. `name` is the name as an Avro string."""

    __slots__ = ("decode", "decode_apart", "errors", "locate", "message", "request")

    def __init__(self, request: "RequestWriter", response: Decoder, errors: ErrorReader) -> None:
        self.message = request.message
        self.request = request
        self.decode: Decode = response.decode
        self.decode_apart = response.decode_apart
        self.locate = response.locate
        self.errors = errors


class RequestWriter:
    """How the parameters of one message are written; the same whoever the server is."""

    __slots__ = ("_skips", "encode", "encode_parts", "message", "name", "one_way", "plain")

    def __init__(self, message: Message, limits: Limits) -> None:
        self.message = message
        self.one_way = message.one_way
        made = encoder(message.request, limits=limits)
        self.encode: Encode = made.encode
        self.encode_parts = made.encode_parts
        self.name = write_string(message.name)
        self.plain = b"\0" + self.name  # no metadata
        fields = message.request.fields
        self._skips: list[Decode] = (
            [decoder(field.schema, limits=limits).decode for field in fields] if len(fields) > 1 else []
        )

    def split(self, payload: bytes) -> list[bytes]:
        """The parameters one by one: yaqd reads each from a buffer of its own and drops what else is in it."""
        parts, start = [], 0
        for skip in self._skips[:-1]:
            end = skip(payload, start)[1]
            parts.append(payload[start:end])
            start = end
        parts.append(payload[start:])
        return parts


class ServerPair:
    """Our contract and one client's protocol. `calls` holds what was called so far, by name in UTF-8."""

    __slots__ = ("_refused", "calls", "client", "contract")

    def __init__(self, contract: "Contract", client: Protocol) -> None:
        self.contract = contract
        self.client = client
        self.calls: dict[bytes, ServerCall] = {}
        self._refused: dict[str, tuple[str, ...]] = {}

    def prepare(self, name: bytes) -> ServerCall | CallError:
        """The codecs of a message that was not called before, or why it cannot be called."""
        text = _text(name)
        own, theirs = self.contract.protocol.messages.get(text), self.client.messages.get(text)
        served = self.contract.protocol.name
        if own is None:
            return CallError(Code.UNIMPLEMENTED, f"{served} has no message {text[:200]!r}", started=False)
        if theirs is None:
            reason = f"the client's protocol {self.client.name} does not declare the message {text!r}"
            return CallError(Code.FAILED_PRECONDITION, reason, started=False)
        reasons = self._refused.get(text)
        if reasons is None:
            try:
                call = self._make(own, theirs)
            except SchemaError as error:
                reasons = self._refused[text] = _reasons(error)
            else:
                self.calls[name] = call
                return call
        told = f"{served}.{text} cannot be called with the client's protocol: {'; '.join(reasons)}"
        return CallError(Code.FAILED_PRECONDITION, told[:4000], started=False)

    def is_slow(self, name: bytes) -> bool:
        """Whether `prepare` has more to do than to look up: both ends have the message, and it was not tried yet."""
        text = name.decode(errors="replace")
        if name in self.calls or text in self._refused or self.client is self.contract.protocol:
            return False
        return text in self.contract.protocol.messages and text in self.client.messages

    def is_one_way(self, name: bytes) -> bool:
        """Whether the client's text says that it waits for no reply."""
        message = self.client.messages.get(name.decode(errors="replace"))
        return message is not None and message.one_way

    def _make(self, own: Message, theirs: Message) -> ServerCall:
        contract = self.contract
        into = contract.into.get(own.name)
        quick, decode_all = contract.limits, None
        if quick.nodes > QUICK_NODES:
            quick = quick.replace(nodes=QUICK_NODES)
            decode_all = cache(lambda: decoder(theirs.request, own.request, into=into, limits=contract.limits).decode)
        read = decoder(theirs.request, own.request, into=into, limits=quick)
        if not theirs.one_way and theirs.response is not own.response:
            # Nothing is run whose result the caller could not read.
            decoder(own.response, theirs.response, limits=contract.limits)
        return ServerCall(contract, own, read, contract.response_writer(own), theirs.one_way, decode_all)


class ClientPair:
    """Our contract and one server's protocol."""

    __slots__ = ("calls", "contract", "server")

    def __init__(self, contract: "Contract", server: Protocol) -> None:
        self.contract = contract
        self.server = server
        self.calls: dict[str, ClientCall] = {}

    def prepare(self, name: str) -> ClientCall:
        """The codecs of a message. CallError: this server does not have it, or has one that does not fit."""
        call = self.calls.get(name)
        if call is not None:
            return call
        request = self.contract.request_writer(name)
        own, theirs = request.message, self.server.messages.get(name)
        if theirs is None:
            reason = f"the server's protocol {self.server.name} has no message {name!r}"
            raise CallError(Code.UNIMPLEMENTED, reason, started=False)
        try:
            call = self._make(request, own, theirs)
        except SchemaError as error:
            reason = f"{name} does not fit the server's {self.server.name}: {'; '.join(_reasons(error))}"
            raise CallError(Code.FAILED_PRECONDITION, reason, started=False) from error
        self.calls[name] = call
        return call

    def _make(self, request: RequestWriter, own: Message, theirs: Message) -> ClientCall:
        contract = self.contract
        if theirs.request is not own.request:
            decoder(own.request, theirs.request, limits=contract.limits)
        into = contract.results.get(own.name)
        read = decoder(theirs.response, own.response, into=into, limits=contract.limits)
        return ClientCall(request, read, contract.error_reader(own, theirs))


class Contract:
    """A protocol as this end serves or calls it, and the codecs for every peer that speaks another version.

    `into`: message -> parameter -> type, what a server wants its parameters to be; `results`: message ->
    type, what a client wants for a response; `errors`: the full or short name of an error -> its class.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        into: Mapping[str, Mapping[str, type]] | None = None,
        results: Mapping[str, type] | None = None,
        errors: Mapping[str, type[DeclaredError]] | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.protocol = protocol
        self.into = into or {}
        self.results = results or {}
        self.errors = dict(errors or {})
        self.limits = limits
        weight = PAIR_TEXTS * limits.protocol_bytes
        self._clients: BoundedCache[str, ServerPair] = BoundedCache(limits.client_protocols, weight)
        self._servers: BoundedCache[str, ClientPair] = BoundedCache(limits.client_protocols, weight)
        self._requests: dict[str, RequestWriter] = {}
        self._responses: dict[str, Encoder] = {}
        self._error_writers: dict[str, ErrorWriter] = {}

    def serving(self, client: Protocol) -> ServerPair:
        """The pair for a client that speaks `client`."""
        pair = self._clients.get(client.text)
        if pair is None:
            pair = ServerPair(self, client)
            self._clients.put(client.text, pair, len(client.text))
        return pair

    def calling(self, server: Protocol) -> ClientPair:
        """The pair for a server that speaks `server`."""
        pair = self._servers.get(server.text)
        if pair is None:
            pair = ClientPair(self, server)
            self._servers.put(server.text, pair, len(server.text))
        return pair

    def request_writer(self, name: str) -> RequestWriter:
        """How the parameters of a message are written. CallError for a name that the protocol does not have."""
        writer = self._requests.get(name)
        if writer is None:
            message = self.protocol.messages.get(name)
            if message is None:
                raise CallError(Code.UNIMPLEMENTED, f"{self.protocol.name} has no message {name!r}", started=False)
            writer = self._requests[name] = RequestWriter(message, self.limits)
        return writer

    def response_writer(self, message: Message) -> Encoder:
        """How the response of a message is written."""
        write = self._responses.get(message.name)
        if write is None:
            write = self._responses[message.name] = encoder(message.response, limits=self.limits)
        return write

    def error_writer(self, message: Message) -> ErrorWriter:
        """How the declared errors of a message are written."""
        writer = self._error_writers.get(message.name)
        if writer is None:
            writer = self._error_writers[message.name] = ErrorWriter(message, self.errors, self.limits)
        return writer

    def error_reader(self, own: Message, theirs: Message) -> ErrorReader:
        """How the declared errors of a server's version of a message are read."""
        return ErrorReader(own, theirs, self.error_class, self.limits)

    def error_class(self, schema: Schema) -> type[DeclaredError]:
        """The class that stands for a declared error: the one given, or one made for it."""
        short = schema.label.rpartition(".")[2]
        found = self.errors.get(schema.label) or self.errors.get(short)
        if found is None:
            found = self.errors[schema.label] = type(short, (DeclaredError,), {"schema_name": schema.label})
        return found


def _reasons(error: SchemaError) -> tuple[str, ...]:
    prefix = f"{error.path}: " if error.path else ""
    return tuple(prefix + reason for reason in error.reasons)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise RemoteWireError(f"the name of a message is not UTF-8: {name[:64].hex()}") from None
