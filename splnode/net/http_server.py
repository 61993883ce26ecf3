"""Avro over HTTP, the server's side: one POST is one call. (Avro 1.12 specification, "HTTP as Transport")

HTTP/1.1 itself is h11's. Calls of one connection run one after the other; a client that wants several at a
time opens several connections, as HTTP clients do. A GET shows one of the host's pages, if it has one of that path.
"""

import asyncio
import time
from typing import Final

import h11
import structlog

from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, RemoteWireError
from splnode.net.host import STALLED, Host, Page
from splnode.net.ledger import SMALL
from splnode.net.watched import WatchedConnection
from splnode.rpc.call import Peer
from splnode.wire.events import Errand, Event, Request
from splnode.wire.server import ServerSession

CONTENT_TYPE: Final = "avro/binary"
PLAIN: Final = "text/plain; charset=utf-8"
STATUS: Final = {
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
    Code.PERMISSION_DENIED: 403,
    Code.UNAUTHENTICATED: 401,
}
"""The status of a page that cannot be shown; 500 for other codes. (connectrpc.com/docs/protocol, "Error Codes")"""
AHEAD: Final = 64 * 1024
"""Bytes that a client may send while its call runs."""
AFTER: Final = 4 * 1024 * 1024
"""Bytes that a client may still send when it has been refused; they are thrown away."""
PARTING: Final = 5.0
"""Seconds in which it has to read the refusal and go. (nginx, lingering_timeout)"""
CHUNKS: Final = 16_384
"""Chunks of one body: an honest client sends a kilobyte at least in each but the last."""
BROWSERS: Final = (b"origin", b"sec-fetch-site")
"""Headers that browsers send and no page can leave out. (Fetch, "Origin header"; Fetch Metadata Request Headers)"""
TURN: Final = 128
"""Events of HTTP that one client may cause before the others have their turn."""

log = structlog.get_logger("splnode.net")


class HttpServerConnection(WatchedConnection, asyncio.Protocol):
    """One accepted HTTP connection."""

    __slots__ = (
        "_advancing", "_body", "_calling", "_chunks", "_due", "_http", "_largest", "_page", "_sent", "_session",
        "_spare", "_who",
    )  # fmt: skip

    OWED = "sent no whole request in time"

    def __init__(self, host: Host, endpoint: Endpoint) -> None:
        super().__init__(host, endpoint)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=host.limits.header_bytes)
        self._session: ServerSession | None = None
        self._page: Page | None = None  # what a GET has asked for
        self._who = Peer("unknown")  # whose request it is
        self._calling = False  # a request is whole, its answer is not there
        self._advancing = False
        self._chunks = 0
        self._due = True  # `patience` waits for a request
        self._sent = 0
        self._body = bytearray()
        self._largest = host.limits.message_bytes + AHEAD
        self._spare = AFTER

    # --- asyncio.Protocol ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        self._received += len(data)
        if self._closing:
            self._overhear(len(data))
            return
        try:
            self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))
            return
        if self._next is None and not self._calling and not self._stalled:
            self._wait_for_request()
            self._advance()
        elif len(self._http.trailing_data[0]) > AHEAD and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client has gone (HTTP clients do not half-close and wait): its call is cancelled."""
        self.close()
        return False

    def resume_writing(self) -> None:
        """It reads again."""
        self._stalled = self._due = False
        self._host.unsent.release(self)
        if not self._closing:
            self._host.patience.discard(self)
            self._go_on()

    # --- the rest -----------------------------------------------------------------------------------------

    def _written(self) -> int:
        return self._sent

    def _unsent(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def _let_go(self) -> None:
        self._closing = True  # what has come is not looked at any more
        self._body = bytearray()

    def _wait_for_request(self) -> None:
        """A request has begun, and is to end."""
        if not self._due:
            self._due = True
            self._host.patience.add(self, time.monotonic() + STALLED)

    def _advance(self) -> None:
        """Takes what has come: one call at a time, and none while the client does not read."""
        if self._advancing:
            return  # the answer was there at once: the loop below goes on
        self._advancing = True
        try:
            for _ in range(TURN):
                if self._calling or self._stalled or self._closing or self._transport is None or not self._step():
                    break
            else:
                self._take_turns()
        finally:
            self._advancing = False
        if len(self._body) > SMALL or self in self._host.unread:
            self._host.unread.hold(self, len(self._body))

    def _take_turns(self) -> None:
        """There may be more in what came: the others first."""
        self._next = asyncio.get_running_loop().call_soon(self._next_turn)
        if self._transport is not None:
            self._transport.pause_reading()

    def _next_turn(self) -> None:
        self._next = None
        if not self._stalled:  # else it goes on when the client reads again
            self._go_on()

    def _step(self) -> bool:
        """Takes one event of HTTP; False if there is none."""
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            long = f"headers of more than header_bytes = {self._host.limits.header_bytes}"
            self._refuse(error.error_status_hint, long if error.error_status_hint == 431 else str(error))
            return False
        if event is h11.NEED_DATA or event is h11.PAUSED:
            if self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
            return False
        if isinstance(event, h11.Request):
            return self._begin(event)
        if isinstance(event, h11.Data):
            self._body += event.data
            self._chunks += event.chunk_start
            if self._chunks > CHUNKS:
                self._refuse(413, f"a body of more than {CHUNKS} chunks")
            elif len(self._body) > self._largest:
                limit = self._host.limits.message_bytes
                self._refuse(413, f"the body is longer than message_bytes = {limit} allows")
        elif isinstance(event, h11.EndOfMessage):
            self._call()
        elif isinstance(event, h11.ConnectionClosed):
            self.close()
        return True

    def _begin(self, request: h11.Request) -> bool:
        if not self._admit(request):
            return False
        path = request.target.decode("ascii", "replace").partition("?")[0]
        if request.method == b"GET" and path in self._host.pages:
            self._page = self._host.pages[path]
            return True
        if request.method != b"POST":
            self._refuse(405, "this port speaks Avro over HTTP: POST a message, Content-Type avro/binary")
            return False
        sent = dict(request.headers).get(b"content-type", CONTENT_TYPE.encode()).partition(b";")[0].strip().lower()
        if sent != CONTENT_TYPE.encode():
            self._refuse(415, f"Content-Type must be {CONTENT_TYPE}, not {sent.decode('ascii', 'replace')}")
            return False
        path = request.target.decode("ascii", "replace").partition("?")[0]
        self._session = ServerSession(
            self._host.directory,
            self._host.clients,
            framing="http",
            service=self._endpoint.service,
            path=path,
            limits=self._host.limits,
            cooperative=True,
            reached=self._host.reached.count,
        )
        self._chunks = 0
        return True

    def _admit(self, request: h11.Request) -> bool:
        """Finds out whose request it is. False: it was refused."""
        self._who = self._peer()
        if any(header in BROWSERS for header, _ in request.headers):
            self._refuse(403, "this port is not for web pages: whoever wrote one could have you call it")
            return False
        given = [value for name, value in request.headers if name == b"authorization"]
        guard = getattr(self._host.channel, "guard", None)
        if not given or guard is None:
            return True
        if len(given) > 1:
            self._refuse(400, "there is more than one Authorization")
            return False
        try:
            self._who = guard.bearer(self._who, given[0].decode("ascii", "replace"))
        except CallError as error:
            self._refuse(401, error.message)
            return False
        return True

    def _call(self) -> None:
        """The request is whole: runs its call, or answers what needs no call."""
        self._host.greeted(self)
        self._due, self._calling = False, True
        body, self._body = bytes(self._body), bytearray()
        if self._page is not None:
            self._errand = asyncio.get_running_loop().create_task(self._show(self._page))
            return
        session = self._session
        assert session is not None
        try:
            events = [*session.receive_data(body), *session.receive_eof()]
        except RemoteWireError as error:
            self._refuse(400, str(error))
        else:
            self._take(session, events)

    def _take(self, session: ServerSession, events: list[Event]) -> None:
        """One call, or an errand before it, or nothing that runs."""
        for event in events:
            if isinstance(event, Request):
                self._serving = self._host.serving(session, self._who, self._answered, self.address)
                self._serving.start(event)
                return
            if isinstance(event, Errand):
                self._errand = self._host.errands.run(event, self._errand_done)
                return
        self._answered()

    def _errand_done(self, well: bool) -> None:
        self._errand = None
        session = self._session
        if session is None or self._closing or self._transport is None:
            return
        if not well:
            self._refuse(400, "what was sent could not be read")
            return
        try:
            events = session.receive_data(b"")
        except RemoteWireError as error:
            self._refuse(400, str(error))
        else:
            self._take(session, events)

    async def _show(self, page: Page) -> None:
        """Answers a GET."""
        try:
            async with asyncio.timeout(self._host.timeout):
                status, (content_type, body) = 200, await page(self._who)
        except (CallError, TimeoutError) as error:
            code = error.code if isinstance(error, CallError) else Code.DEADLINE_EXCEEDED
            status, content_type, body = STATUS.get(code, 500), PLAIN, f"{error}\n".encode()
        except Exception as error:
            log.error("page not shown", peer=str(self._peer()), exc_info=error)
            status, content_type, body = 500, PLAIN, b"internal error\n"
        self._errand = self._page = None
        self._calling = False
        if self._transport is not None and not self._closing:
            self._done(status, content_type, body)

    def _answered(self) -> None:
        """The answer lies in the session."""
        session, self._session, self._serving, self._calling = self._session, None, None, False
        if session is not None and self._transport is not None:
            self._done(200, CONTENT_TYPE, b"".join(session.data_to_send()))

    def _done(self, status: int, content_type: str, body: bytes) -> None:
        """Answers, and goes on to the next request."""
        self._reply(status, content_type, body)
        if self._http.our_state is h11.MUST_CLOSE:
            self.close()
            return
        self._http.start_next_cycle()
        if not self._stalled:
            self._go_on()

    def _go_on(self) -> None:
        """To the next request, which may be here already."""
        if self._transport is None or self._calling or self._closing or self._next is not None:
            return
        if self._http.trailing_data[0]:
            self._wait_for_request()
            self._advance()
        self._read_on()

    def _read_on(self) -> None:
        """Reads again, unless there is more than enough already."""
        if self._transport is None or self._stalled or self._waits or self._closing or self._next is not None:
            return
        if not self._calling or len(self._http.trailing_data[0]) <= AHEAD:
            self._transport.resume_reading()

    def _refuse(self, status: int, reason: str) -> None:
        """Answers with a status that says so, and closes: the rest of the bytes cannot be trusted."""
        self._host.tell("request refused", self._peer(), reason, status=status)
        self._host.reached.named(reason)
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._reply(status, PLAIN, f"{reason}\n".encode(), close=True)
        self._part()

    def _part(self) -> None:
        """Closes when the client has: a socket that is closed on unread bytes takes the answer back. (RFC 9112, 9.6)"""
        transport = self._transport
        if transport is None or self._closing or not transport.can_write_eof():
            self.close()
            return
        self._drop()
        self._closing = True
        self._body, self._http, self._session = bytearray(), h11.Connection(h11.SERVER), None
        self._host.unread.release(self)
        self._host.patience.add(self, time.monotonic() + PARTING)
        transport.write_eof()
        transport.resume_reading()

    def _overhear(self, nbytes: int) -> None:
        """A client that was refused goes on sending: some of it is thrown away, so that it comes to reading why."""
        self._spare -= nbytes
        if self._spare < 0 and self._transport is not None:
            self._transport.abort()

    def _reply(self, status: int, content_type: str, body: bytes, *, close: bool = False) -> None:
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        if close:
            headers.append(("Connection", "close"))
        if status == 405:
            headers.append(("Allow", "POST"))
        if status == 401:
            headers.append(("WWW-Authenticate", "Bearer"))
        self._send(h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage())

    def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        if data and self._transport is not None:
            self._sent += len(data)
            self._transport.write(data)
