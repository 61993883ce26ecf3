"""TLS over a blocking stream: the same methods, with what is written and read encrypted."""

import contextlib
import ssl
import time
import typing
from collections.abc import Callable, Sequence
from typing import Final

from splnode.endpoint import Endpoint
from splnode.net.reasons import unreachable
from splnode.net.securing import Securing
from splnode.net.stream import Stream
from splnode.net.tls_files import since
from splnode.net.tls_reasons import CLOSED, OUT_OF_TIME, explain

PIECE: Final = 64 * 1024
"""Bytes that are decrypted at a time."""


class TlsStream(Stream):
    """One connection over `below`, which it owns. `shake` comes first."""

    __slots__ = ("_below", "_came", "_ended", "_in", "_out", "_tls", "out_of_time")

    def __init__(self, below: Stream, context: ssl.SSLContext, host: str) -> None:
        self._below = below
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._came = b""  # decrypted, and not given yet
        self._ended = False
        self.out_of_time = False

    @property
    def descriptor(self) -> int:
        """None: whoever wrote to the socket would write past TLS."""
        return -1

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """For who looks at the peer's certificate."""
        return self._tls

    def shake(self, until: float) -> None:
        """The handshake, before that moment. OSError: there is none."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush(until, lambda data: None)
                data = self._below.receive(until)
                if not data:
                    raise ConnectionResetError(CLOSED) from None
                self._in.write(data)
            except ssl.SSLError as error:
                self.out_of_time = getattr(error, "verify_code", 0) in OUT_OF_TIME
                with contextlib.suppress(OSError):  # the alert that says why
                    self._flush(until, lambda data: None)
                raise
            else:
                self._flush(until, lambda data: None)
                return

    def dates(self) -> str:
        """When the peer's certificate begins and ends, for who was told that it is out of its time; "" if unknown."""
        try:  # no public way to see a certificate that was not accepted before Python 3.13
            chain = typing.cast("typing.Any", self._tls)._sslobj.get_unverified_chain()
            shown = chain[0].get_info()
            begin, end = (since(ssl.cert_time_to_seconds(shown[key])) for key in ("notBefore", "notAfter"))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return ""
        return f" (it is good from {begin} to {end})" if self.out_of_time else ""

    def quiet(self) -> bool:
        """True while there is nothing to read; what TLS says of itself is read and is nothing."""
        while not (self._came or self._ended) and not self._below.quiet():
            self._take(self._below.receive(time.monotonic() + 1))
        return not (self._came or self._ended)

    def send(self, parts: Sequence[bytes], until: float, received: Callable[[bytes], object]) -> None:
        """As that of Stream."""
        rest = memoryview(b"".join(parts))
        while rest:
            rest = rest[self._tls.write(rest) :]
        self._flush(until, received)

    def receive(self, until: float) -> bytes:
        """As that of Stream."""
        while not (self._came or self._ended):
            self._take(self._below.receive(until))
            with contextlib.suppress(OSError):  # what TLS itself owes; who does not take it will say so
                self._flush(until, lambda data: None)
        came, self._came = self._came, b""
        return came

    def close(self) -> None:
        """Says so, and closes the socket of this process."""
        with contextlib.suppress(OSError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            self._below.send([self._out.read()], 0, lambda data: None)
        self._below.close()

    def abort(self) -> None:
        """As that of Stream."""
        self._below.abort()

    def _flush(self, until: float, received: Callable[[bytes], object]) -> None:
        def take(data: bytes) -> None:
            self._take(data)
            if self._came:
                came, self._came = self._came, b""
                received(came)

        if self._out.pending:
            self._below.send([self._out.read()], until, take)

    def _take(self, data: bytes) -> None:
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
        pieces = [self._came]
        try:
            while piece := self._tls.read(PIECE):
                pieces.append(piece)
            self._ended = True
        except ssl.SSLWantReadError:
            self._ended = not data
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._ended = True
        self._came = b"".join(pieces)


def secured(below: Stream, endpoint: Endpoint, tls: Securing, until: float) -> TlsStream:
    """Shakes hands over a stream, which is closed where that fails. TimeoutError; CallError says why not."""
    stream = TlsStream(below, tls.client(), endpoint.host.partition("%")[0])
    try:
        stream.shake(until)
        if fault := tls.check(stream.ssl_object, endpoint):
            raise unreachable(endpoint, fault)
    except TimeoutError:
        below.close()
        raise
    except OSError as error:
        below.close()
        raise unreachable(endpoint, explain(error) + stream.dates()) from error
    except BaseException:
        below.close()
        raise
    return stream
