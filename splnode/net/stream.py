"""A socket that is waited for: what the blocking channels write and read, with an end to every wait.

Moments are those of `time.monotonic()`. Every wait is a `poll`, which keeps its moment however many signals come;
a read that waits in the kernel (SO_RCVTIMEO) begins its wait anew after each. What does not fit at once is written as
there is room, and what comes meanwhile is read, so that two ends that write much do not wait for each other.
"""

import contextlib
import select
import time
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

from splnode.endpoint import Endpoint
from splnode.net.reasons import reason_of, unreachable
from splnode.net.securing import Securing, secure

try:
    import _socket as socket  # all that is needed of it: the rest, enums and files, takes 3 ms to import
except ImportError:
    import socket  # type: ignore[no-redef]  # the same names

CONNECT_TIMEOUT: Final = 5.0
"""Seconds to connect and shake hands in, where nobody says otherwise: the default of `[channels]` in the config."""
SMALL: Final = 16 * 1024
"""Bytes of the first read: an answer is seldom longer."""
LARGE: Final = 256 * 1024
"""Bytes of the reads behind one that was filled."""
FULL: Final = 0.005
"""Seconds until a Unix socket whose line is full is tried again: the kernel tells nobody when there is room."""
_NOW: Final = socket.MSG_DONTWAIT
_AT_ONCE: Final = Struct("@ii").pack(1, 0)  # socket(7), SO_LINGER: on, 0 seconds


class Stream:
    """One connected socket, which it owns. Not thread-safe. OSError from any method: it is good for nothing more."""

    __slots__ = ("_filled", "_poll", "_socket")

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(None)
        if connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)
        self._filled = False  # the last read took all that it could

    @property
    def descriptor(self) -> int:
        """The socket's; -1 where what is written there is not what is said."""
        return self._socket.fileno()

    def quiet(self) -> bool:
        """True while there is nothing to read: no bytes, no end."""
        return not self._poll.poll(0)

    def send(self, parts: Sequence[bytes], until: float, received: Callable[[bytes], object]) -> None:
        """Writes all parts, or raises: then the peer has not got the whole. TimeoutError at `until`.

        What comes in while there is no room is given to `received`, the end of the stream as b"".
        """
        if len(parts) == 1:
            if (sent := self._send_now(parts)) == len(parts[0]):
                return
        elif (sent := self._send_now(parts)) == sum(map(len, parts)):
            return
        self._send_rest(memoryview(b"".join(parts))[sent:], until, received)

    def receive(self, until: float) -> bytes:
        """What comes next; b"" at the end of the stream. TimeoutError at `until`."""
        while (left := until - time.monotonic()) > 0:
            if self._poll.poll(left * 1000):
                try:
                    data = self._socket.recv(LARGE if self._filled else SMALL, _NOW)
                except BlockingIOError:  # it was nothing after all
                    continue
                self._filled = len(data) >= SMALL
                return data
        raise TimeoutError

    def close(self) -> None:
        """Closes the socket of this process."""
        self._socket.close()

    def abort(self) -> None:
        """Closes it so that the peer sees it broken: an end alone it may take for "no more requests"."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._socket.close()

    def _send_now(self, parts: Sequence[bytes]) -> int:
        try:
            if len(parts) == 1:
                return self._socket.send(parts[0], _NOW)
            return self._socket.sendmsg(parts, (), _NOW)
        except BlockingIOError:
            return 0

    def _send_rest(self, rest: memoryview, until: float, received: Callable[[bytes], object]) -> None:
        room = select.poll()
        room.register(self._socket, select.POLLIN | select.POLLOUT)
        while rest:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for _, ready in room.poll(left * 1000):
                if ready & select.POLLIN:
                    data = self._socket.recv(LARGE, _NOW)
                    received(data)
                    if not data:
                        raise ConnectionResetError("the peer closed the connection")
                if ready & ~select.POLLIN:
                    rest = rest[self._socket.send(rest, _NOW) :]


def dial(endpoint: Endpoint, until: float, seconds: float, tls: Securing | None = None) -> Stream:
    """A connection, until that moment at the latest; whoever calls closes it. `seconds` is what the error names.

    CallError(UNAVAILABLE, started=False). A host's name is looked up for as long as the system's resolver takes. `tls`
    is what this end is over TLS, where the endpoint is secure, or `tls` makes it so.
    """
    endpoint = tls.dialled(endpoint) if tls is not None else endpoint
    stream = _dial(endpoint, until, seconds)
    if not endpoint.is_secure:
        return stream
    from splnode.net.tls_stream import secured  # noqa: PLC0415 - ssl, for who needs it

    try:
        return secured(stream, endpoint, secure(tls), until)
    except TimeoutError:
        raise unreachable(endpoint, f"no TLS handshake within {seconds:g} s") from None


def _dial(endpoint: Endpoint, until: float, seconds: float) -> Stream:
    try:
        if endpoint.scheme == "unix":
            return _connect(socket.AF_UNIX, endpoint.path, until)
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        for place, (family, _, _, _, address) in enumerate(found):
            try:
                left = until - time.monotonic()
                return _connect(family, address, time.monotonic() + left / (len(found) - place))
            except OSError:
                if place == len(found) - 1:
                    raise
        raise OSError("the host has no address")
    except TimeoutError:
        raise unreachable(endpoint, f"no connection within {seconds:g} s") from None
    except (OSError, ValueError) as error:
        raise unreachable(endpoint, reason_of(error)) from error


def _connect(family: int, address: object, until: float) -> Stream:
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connecting.settimeout(left)
            try:
                connecting.connect(address)  # type: ignore[arg-type]  # a path or what getaddrinfo gave
            except BlockingIOError:
                time.sleep(min(FULL, left))
            else:
                return Stream(connecting)
    except BaseException:
        connecting.close()
        raise
