"""The server's end of TLS: a transport over a transport.

asyncio and uvloop have one each. This one is the same on both loops, and does what they do not: a peer that has ended
is still answered (avsc ends each request so), one that is refused is told why by an alert, and no connection has a
buffer of a quarter of a megabyte of its own.

| state | what comes | what is written |
|---|---|---|
| handshake | is the handshake's | nothing |
| open | is decrypted, unless reading is paused | is encrypted at once |
| ended by the peer | nothing | goes on as long as its protocol wants |
| refused, closed | is dropped | nothing; an alert, or close_notify, was the last |
"""

import asyncio
import contextlib
import ssl
import typing
from collections.abc import Callable, Iterable
from typing import Any, Final

from splnode.net.tls import Tls
from splnode.net.tls_hello import asked_name

PIECE: Final = 256 * 1024
"""Bytes that are encrypted, or decrypted, at a time."""
JOINED: Final = 64 * 1024
"""Parts are joined up to so many bytes, so that they make one record."""
GREETING: Final = 32 * 1024
"""Bytes that a client may send without an end of its handshake. An honest one sends some hundred, and as many thousand
with a chain of certificates."""
UNDER_WAY: Final = 20 * 1024
"""What a handshake counts that TLS has begun. It needs some 48 kB for a moment; of 800 at a time, held_bytes for all,
the oldest is no more an honest one, and they have 40 MB."""
UNFINISHED: Final = UNDER_WAY + 128 * 1024
"""The same with what TLS may keep for a message that is there in part: as much as its first four bytes say."""

Bytes = bytes | bytearray | memoryview


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """Shakes hands over the transport that it is made the protocol of, and then is that of whom `enter` gives.

    It shows the certificate of `tls` that is for the name that the client asks for.

    `holds` is told what an unfinished handshake has this end keep, in bytes.

    `shaken` says when the handshake is done; OSError if it was none: then the peer is told, and has until `lost` to
    hear it. Whoever waits for them sets the deadline, and aborts.
    """

    def __init__(
        self, tls: Tls, enter: Callable[[], asyncio.BaseProtocol], holds: Callable[[int], object] = lambda size: None
    ) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        self.shaken: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._enter = enter
        self._holds = holds
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._contexts = tls
        self._tls: Any = None
        self._hello = b""  # until it is known what the client asks for
        self._greeting = 0
        self._below: asyncio.Transport | None = None
        self._protocol: asyncio.BaseProtocol | None = None
        self._buffered: asyncio.BufferedProtocol | None = None
        self._error: OSError | None = None
        self._closing = False
        self._paused = False
        self._pumping = False
        self._ended = False  # the peer has sent its last, and its protocol knows
        self._cut = False  # the stream below has ended

    # --- asyncio.Protocol: of the transport below ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has come."""
        self._below = typing.cast("asyncio.Transport", transport)  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer, encrypted."""
        if self._closing or self._error is not None:
            return  # it was refused, or is being let go
        if self._protocol is not None:
            self._in.write(data)
            self._pump()
            return
        self._greeting += len(data)
        if self._begun(data):
            self._shake()
        if self._greeting > GREETING and not self.shaken.done():
            self._refuse(OSError(f"its handshake has no end within {GREETING} bytes"))

    def eof_received(self) -> bool:
        """The stream below has ended: with or without a word."""
        self._cut = True
        if self._protocol is not None and not self._closing:
            self._pump()
            return not self._closing
        if not self.shaken.done():
            self._refuse(ConnectionResetError("the peer closed the connection in the TLS handshake"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._below = None
        self._closing = True
        if not self.shaken.done():
            self._refuse(exc if isinstance(exc, OSError) else ConnectionResetError("connection lost"))
        if not self.lost.done():
            self.lost.set_result(None)
        if self._protocol is not None:
            self._protocol.connection_lost(self._error or exc)

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        if self._protocol is not None:
            self._protocol.resume_writing()

    # --- asyncio.Transport: for the protocol above --------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection below, and of TLS."""
        if name == "ssl_object":
            return self._tls
        if name == "sslcontext":
            return self._tls.context
        return self._below.get_extra_info(name, default) if self._below is not None else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Who is given what comes from now on."""
        self._protocol = protocol
        self._buffered = protocol if isinstance(protocol, asyncio.BufferedProtocol) else None

    def get_protocol(self) -> asyncio.BaseProtocol:
        """That one."""
        assert self._protocol is not None  # it is asked after the handshake
        return self._protocol

    def is_closing(self) -> bool:
        """Whether nothing more is written."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether what comes is given to the protocol."""
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        """What comes stays below."""
        if not self._paused and self._below is not None:
            self._paused = True
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """What has come is given in a turn of its own."""
        if self._paused and self._below is not None:
            self._paused = False
            self._below.resume_reading()
            self._loop.call_soon(self._pump)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As below: what is encrypted is as long, but for some bytes."""
        if self._below is not None:
            self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait below: nothing waits here."""
        return self._below.get_write_buffer_size() if self._below is not None else 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Those below."""
        return self._below.get_write_buffer_limits() if self._below is not None else (0, 0)

    def write(self, data: Bytes) -> None:
        """Encrypts it, and sends it."""
        below = self._below
        if self._closing or below is None or not data:
            return
        try:
            if len(data) <= PIECE:
                self._tls.write(data)
                below.write(self._out.read())
                return
            rest = memoryview(data)
            while rest:
                rest = rest[self._tls.write(rest[:PIECE]) :]
                below.write(self._out.read())
        except ssl.SSLError as error:
            self._fail(error)

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        """All of them; short ones as one record."""
        parts: list[Bytes] = []
        size = 0
        for part in list_of_data:
            if size + len(part) > JOINED:
                self.write(b"".join(parts))
                parts, size = [], 0
            if len(part) > JOINED:
                self.write(part)
            else:
                parts.append(part)
                size += len(part)
        if parts:
            self.write(b"".join(parts))

    def can_write_eof(self) -> bool:
        """`close` is the only end."""
        return False

    def close(self) -> None:
        """Says that this is the end (close_notify); what was written before is still sent."""
        if self._closing or self._below is None:
            return
        self._closing = True
        if self._tls is not None:
            with contextlib.suppress(ssl.SSLError):  # mostly SSLWantReadError: the peer's own end is not waited for
                self._tls.unwrap()
        self._flush()
        self._below.close()

    def abort(self) -> None:
        """Ends it now, without a word. What a handshake kept is given back at once."""
        self._closing = True
        if self._protocol is None:
            self._tls, self._hello = None, b""
        if self._below is not None:
            self._below.abort()

    # --- the rest -----------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._out.pending and self._below is not None:
            self._below.write(self._out.read())

    def _begun(self, data: bytes) -> bool:
        """Whether TLS has what came: first it must be known which certificate the client wants to see."""
        if self._tls is None:
            self._hello += data
            try:
                name = asked_name(self._hello)
            except ValueError as error:
                self._refuse(OSError(str(error)))
                return False
            if name is None:
                self._holds(len(self._hello))
                return False
            self._tls = self._contexts.server(name).wrap_bio(self._in, self._out, server_side=True)
            data, self._hello = self._hello, b""
        self._in.write(data)
        return True

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._holds(UNDER_WAY if self._out.pending else UNFINISHED)
            self._flush()
            return
        except OSError as error:
            self._refuse(error)
            return
        self._flush()
        self._holds(0)
        if self.shaken.cancelled():
            self.abort()
            return
        self.shaken.set_result(None)
        protocol = self._enter()
        self.set_protocol(protocol)
        protocol.connection_made(self)
        self._pump()

    def _refuse(self, error: OSError) -> None:
        """The handshake has failed. The alert goes out; what the peer has sent meanwhile must not reset it."""
        self._error = error
        if not self.shaken.done():
            self.shaken.set_exception(error)
            self.shaken.exception()  # nobody may wait for it
        self._flush()
        if self._below is not None and not self._closing:
            if self._cut:
                self._below.close()
            else:
                with contextlib.suppress(OSError):
                    self._below.write_eof()

    def _fail(self, error: OSError) -> None:
        """What came was no TLS: an alert, and the end."""
        self._error = error
        self._flush()
        if not self._closing and self._below is not None:
            self._closing = True
            self._below.close()

    def _pump(self) -> None:
        """Gives the protocol what has come, until there is no more or it wants no more."""
        if self._pumping or self._protocol is None:
            return
        self._pumping = True
        try:
            while not (self._paused or self._closing or self._ended) and self._step():
                pass
        except ssl.SSLError as error:
            self._fail(error)
        finally:
            self._pumping = False
        self._flush()  # what TLS itself has to say

    def _step(self) -> bool:
        """One callback of the protocol; False where there is nothing to tell it. ssl.SSLError: what came is no TLS."""
        if self._in.pending or self._tls.pending():
            buffered = self._buffered
            if buffered is None:
                data, over = self._read_all()
                if data:
                    typing.cast("asyncio.Protocol", self._protocol).data_received(data)
            else:
                filled, over = self._read_into(memoryview(buffered.get_buffer(-1)))
                if filled:
                    buffered.buffer_updated(filled)
            if self._error is not None:
                raise self._error
            if not over:
                return True  # there may be more, and it may want no more
        elif not self._cut:
            return False
        self._ended = True
        # It may have closed in that callback.
        if not self._closing and not typing.cast("asyncio.Protocol", self._protocol).eof_received():
            self.close()
        return False

    def _read_into(self, space: memoryview) -> tuple[int, bool]:
        """How much of that space was filled, and whether the peer has said that this is the end (close_notify)."""
        read, filled, size = self._tls.read, 0, len(space)
        try:
            while filled < size:
                count = read(size - filled, space[filled:] if filled else space)
                if not count:
                    return filled, True
                filled += count
                if not (self._in.pending or self._tls.pending()):
                    break  # as a rule: asking for more would be an exception
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:  # what came before was good
            self._error = error
        return filled, False

    def _read_all(self) -> tuple[bytes, bool]:
        """As `_read_into`, for who has no space of its own."""
        pieces: list[bytes] = []
        size = 0
        try:
            while size < PIECE:
                piece = self._tls.read(PIECE)
                if not piece:
                    return b"".join(pieces), True
                pieces.append(piece)
                size += len(piece)
                if not (self._in.pending or self._tls.pending()):
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:  # as above
            self._error = error
        return b"".join(pieces), False
