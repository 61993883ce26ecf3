"""Where TLS comes in: accepts, looks at the first byte of each connection, and shakes hands.

| first byte | it is | what happens |
|---|---|---|
| 16 | a TLS handshake (RFC 8446, 5.1) | it is made, within `handshake_seconds` from accepting |
| another | plain | it is served where that is allowed, else told so and closed |

No framing of Avro that is of a sensible length begins with 16. The byte is only looked at (MSG_PEEK): whoever serves
the connection reads it.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Final

import structlog

from splnode.net.accepting import Accepting
from splnode.net.entering import Entering
from splnode.net.host import Host
from splnode.net.places import of_address
from splnode.net.tls import Tls
from splnode.net.tls_reasons import GONE, explain, kind_of
from splnode.net.tls_transport import TlsTransport

HANDSHAKE: Final = b"\x16"
ALERT: Final = bytes.fromhex("15 03 01 00 02 02 46")
"""A fatal alert, protocol_version: what a peer that speaks TLS here would say. (RFC 8446, 6)"""
SAID: Final = b"this port speaks TLS: use https://\n"
HTTP: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(SAID), SAID)

log = structlog.get_logger("splnode.net")


class Knock:
    """Somebody who was accepted, and is not let in yet: to its host a connection without a whole message."""

    def __init__(self, host: Host, sock: socket.socket, address: tuple[Any, ...]) -> None:
        self._host = host
        self.address = of_address(str(address[0]))
        self.peer = f"tls://[{address[0]}]:{address[1]}" if ":" in address[0] else f"tls://{address[0]}:{address[1]}"
        self.socket: socket.socket | None = sock
        self.task: asyncio.Task[None] | None = None
        self.link: TlsTransport | None = None
        self.busy = True  # it is not idle: it owes a handshake
        self.traffic = 0, 0

    def take(self) -> socket.socket:
        """The socket, which is the caller's to close from now on."""
        assert self.socket is not None  # nobody else has taken it
        sock, self.socket = self.socket, None
        return sock

    def close(self) -> None:
        """It is not let in."""
        if self.link is not None:
            self.link.abort()
        if self.task is not None and not self.task.done():
            self.task.cancel()  # which looks at the socket: its end closes that
        elif self.socket is not None:
            self.take().close()

    abort = close

    def out_of_patience(self) -> None:
        """It took too long."""
        self.failed("slow", "no TLS handshake in time")
        self._host.reached.counts["handshake_seconds"] += 1
        self.close()

    def failed(self, kind: str, reason: str) -> None:
        """Counts a handshake that came to nothing, and says so unless the same was said a moment ago of another."""
        self._host.unshaken[kind] += 1
        self._host.tell("TLS handshake failed", self.peer, reason)

    def too_much(self, what: str) -> None:
        """All peers together hold too much, and this one the longest."""
        fix = "raise limits.held_bytes, or find out who begins handshakes and does not end them"
        self._host.reached("held_bytes", f"TLS handshakes dropped: {what}", fix=fix, address=self.address)
        self.close()

    def wait_for_room(self, _waits: bool) -> None:
        """It holds nothing."""


class Gate:
    """Accepts on `listening` and lets in to `host`; belongs to one loop. `close` closes both socket and handshakes.

    `connection` makes the asyncio protocol for a peer that is let in.
    """

    def __init__(
        self, listening: socket.socket, tls: Tls, host: Host, connection: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        self._tls = tls
        self._host = host
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._knocks: set[Knock] = set()
        self._accepting = Accepting(listening, host.has_room, self._taken, host.makes_wait)

    def close(self) -> None:
        """Lets nobody in any more."""
        self._accepting.close()
        for knock in list(self._knocks):
            knock.close()

    def _taken(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        knock = Knock(self._host, sock, address)
        seconds = self._host.limits.handshake_seconds
        self._host.joins(knock, seconds)
        if knock.socket is None:  # there are too many
            return
        self._knocks.add(knock)
        knock.task = self._loop.create_task(self._greet(knock), context=Context())
        knock.task.add_done_callback(lambda done: self._gone(knock, done))

    def _gone(self, knock: Knock, task: "asyncio.Task[None]") -> None:
        self._leaves(knock)
        knock.task = knock.link = None  # there is nothing to end but a socket that nobody has taken
        knock.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection failed", exc_info=error)

    def _leaves(self, knock: Knock) -> None:
        self._knocks.discard(knock)
        self._host.leaves(knock)

    async def _greet(self, knock: Knock) -> None:
        first = await self._first(knock)
        if first == HANDSHAKE:
            await self._shake_hands(knock)
        elif first and self._tls.plain == "both":
            entering = Entering(lambda _: self._let_in(knock))
            await self._loop.connect_accepted_socket(lambda: entering, knock.take())
        elif first:
            self._refuse_plain(knock)

    async def _first(self, knock: Knock) -> bytes:
        """The first byte, which stays where it is; b"" if there is none."""
        sock = knock.socket
        assert sock is not None  # it was just accepted
        readable = self._loop.create_future()
        with contextlib.suppress(OSError):
            with contextlib.suppress(BlockingIOError):
                return sock.recv(1, socket.MSG_PEEK)
            self._loop.add_reader(sock, _done, readable)
            try:
                await readable
            finally:
                self._loop.remove_reader(sock)
            return sock.recv(1, socket.MSG_PEEK)
        return b""

    async def _shake_hands(self, knock: Knock) -> None:
        """Until the handshake is done; or, where there was none, until the peer knows why."""
        holds = partial(self._host.shaking.hold, knock)
        link = knock.link = TlsTransport(self._tls, lambda: self._let_in(knock), holds)
        try:
            await self._loop.connect_accepted_socket(lambda: link, knock.take())
            await link.shaken
        except OSError as error:
            knock.failed(kind_of(error), explain(error, GONE))
            await link.lost
        except BaseException:  # it took too long
            link.abort()
            raise

    def _let_in(self, knock: Knock) -> asyncio.BaseProtocol:
        self._host.accepted -= 1  # it is counted once
        self._leaves(knock)
        return self._connection()

    def _refuse_plain(self, knock: Knock) -> None:
        knock.failed("plain", "it speaks no TLS, and this port speaks nothing else")
        assert knock.socket is not None  # only a byte was looked at
        with contextlib.suppress(OSError):
            head = knock.socket.recv(4096)  # what is unread would make a reset of the end, and take the answer along
            knock.socket.send(HTTP if b" HTTP/1." in head else ALERT)


def _done(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_result(None)
