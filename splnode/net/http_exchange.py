"""What a client says and hears over HTTP, without a socket: shared by the pool that awaits and the channel that blocks.

`HttpExchange` is one connection: bodies in and out of h11. `carry`, `discover` are the conversations: generators that
yield the body to POST and are sent the body of the answer. (Avro 1.12 specification, "HTTP as Transport")
"""

import contextlib
from collections.abc import Generator
from typing import Final
from urllib.parse import quote

import h11

from splnode.avro.protocol import Protocol
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, RemoteWireError
from splnode.limits import Limits
from splnode.rpc.call import TIMEOUT_KEY, Call
from splnode.wire.client import ClientSession
from splnode.wire.directory import parse
from splnode.wire.events import Response
from splnode.wire.greeting import WHOSE
from splnode.wire.handshake import HandshakeRequest, read_response, write_request
from splnode.wire.message import Contract
from splnode.wire.spec import SpecReader, spec_frame

ROOM: Final = 64 * 1024
"""Bytes that a body may be longer than a message: handshake, metadata and lengths."""


class HttpFault(Exception):
    """Why there will be no answer on this connection."""


class HttpExchange:
    """One HTTP/1.1 connection, one POST after another."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self._host = f"{_written(endpoint.host)}:{endpoint.port}"
        self._target = quote(endpoint.path or "/", safe="/%:@!$&'()*+,;=~")
        self._largest = limits.message_bytes + ROOM
        self._http = h11.Connection(h11.CLIENT)
        self._status = 0
        self._body = bytearray()
        self._ended = False  # the server sends no more

    @property
    def usable(self) -> bool:
        """True if the server waits for a request, and has said nothing unasked that would pass for its answer."""
        return not self._ended and self._http.our_state is h11.IDLE and not self._http.trailing_data[0]

    def post(self, body: bytes) -> list[bytes]:
        """The bytes of a request, in order. Only where `usable`."""
        headers = [
            ("Host", self._host),
            ("Content-Type", "avro/binary"),
            ("Content-Length", str(len(body))),
        ]
        request = h11.Request(method="POST", target=self._target, headers=headers)
        parts = [self._http.send(event) for event in (request, h11.Data(data=body), h11.EndOfMessage())]
        return [part for part in parts if part]

    def receive(self, data: bytes) -> bytes | None:
        """Takes what came, b"" for the end: the body of the answer once it is whole, else None. HttpFault."""
        self._ended = self._ended or not data
        with contextlib.suppress(h11.RemoteProtocolError):  # next_event raises it again
            self._http.receive_data(data)
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise HttpFault("the peer closed the connection" if self._ended else f"not HTTP: {error}") from None
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return None
            if isinstance(event, h11.Response):
                self._status, self._body = event.status_code, bytearray()
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._largest:
                    raise HttpFault(f"an answer of more than {self._largest} bytes")
            elif isinstance(event, h11.EndOfMessage):
                return self._answer()
            elif isinstance(event, h11.ConnectionClosed):
                raise HttpFault("the peer closed the connection")

    def _answer(self) -> bytes:
        body = bytes(self._body)
        if self._status != 200:
            raise HttpFault(f"HTTP status {self._status}: {body[:200].decode('utf-8', 'replace').strip()}")
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return body


def carry(session: ClientSession, endpoint: Endpoint, call: Call) -> Generator[bytes, bytes, Response]:
    """One call: one POST, or two where the server does not know our protocol yet. Gives the response.

    What it raises before it yields was not sent. After it has raised behind that, the session is good for nothing.
    """
    left = b"%d" % max(1, int(call.remaining * 1000))
    serial = session.call(call.message.name, call.params, {**call.metadata, TIMEOUT_KEY: left})
    while bodies := session.data_to_send():
        answer = yield bodies[0]
        try:
            events = session.receive_data(answer)
            session.receive_eof()
        except RemoteWireError as error:
            raise CallError(Code.UNAVAILABLE, f"{endpoint}: {error}; the call may have run") from error
        for event in events:
            if type(event) is Response and event.serial == serial:
                return event
    raise CallError(Code.UNAVAILABLE, f"{endpoint}: an answer without a response in it")


def discover(contract: Contract, endpoint: Endpoint) -> Generator[bytes, bytes, Protocol]:
    """What the server says it speaks. It is asked by hash alone first: Python's avro cannot read an empty protocol.

    Asked again with the text, which bears the name that is wanted, where it has told of another.
    """
    own = contract.protocol
    found = yield from _greet(own, None, endpoint, contract.limits)
    if found is not None and found.short_name == own.short_name:
        return found
    try:
        return (yield from _greet(own, own.text, endpoint, contract.limits)) or own
    except CallError:
        if found is None:
            raise
        return found


def _greet(
    own: Protocol, text: str | None, endpoint: Endpoint, limits: Limits
) -> Generator[bytes, bytes, Protocol | None]:
    """One POST with a handshake and a ping; the protocol that the server answers with, if any."""
    request = write_request(HandshakeRequest(own.md5, text, own.md5))
    body = yield spec_frame(request, b"\0", b"\0")
    try:
        reader = SpecReader(limits)
        reader.feed(body)
        message = reader.take(1)[0][1]
        assert isinstance(message, bytes)  # it was fed with no buffer of its own
        response, _ = read_response(message, limits)
        if response.server_protocol is None:
            return None
        return parse(response.server_protocol, WHOSE, limits)
    except (RemoteWireError, IndexError) as error:
        raise CallError(Code.UNAVAILABLE, f"{endpoint}: no handshake in the answer: {error}") from error


def _written(host: str) -> str:
    """A host as it stands in a URL."""
    if ":" in host:
        return f"[{host}]"
    return host if host.isascii() else host.encode("idna").decode()
