"""The channel that blocks, over HTTP: each call one POST, on a connection that is kept while the server keeps it.

What `blocking` says of broken connections holds here too; there is no ping, so a silent server is waited for until
the deadline.
"""

import time
from collections.abc import Generator
from typing import TypeVar

from splnode.avro.protocol import Protocol
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.net.bearing import check_bearer
from splnode.net.carrier import Carrier
from splnode.net.http_exchange import HttpExchange, HttpFault, carry, discover
from splnode.net.reasons import lost
from splnode.net.securing import Securing
from splnode.net.stream import CONNECT_TIMEOUT, Stream, dial
from splnode.rpc.call import Call
from splnode.wire.client import ClientSession
from splnode.wire.message import Contract

R = TypeVar("R")


class BlockingHttpChannel(Carrier):
    """One `http+avro` endpoint. Not thread-safe; whoever made it closes it."""

    __slots__ = ("_http", "_known")

    def __init__(
        self,
        endpoint: Endpoint,
        contract: Contract,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        tls: Securing | None = None,
    ) -> None:
        super().__init__(endpoint, contract, connect_timeout=connect_timeout, tls=tls)
        self._http = HttpExchange(endpoint, contract.limits)
        self._known: tuple[bytes, Protocol] | None = None  # saves a POST

    @property
    def server(self) -> Protocol | None:
        """The protocol that the server told, if it had to."""
        return self._known[1] if self._known is not None else None

    def connect(self) -> None:
        """Opens the connection, within the connect timeout. CallError says why not."""
        self._dial(time.monotonic() + self._connect_timeout)

    def dial(self, until: float) -> None:
        """Opens the connection, before that moment. CallError says why not."""
        self._dial(until)

    def call(self, call: Call) -> object:
        """Carries one call, and gives or raises what `rpc.channel.Channel.call` does."""
        contract = self.contract
        check_bearer(call, self.endpoint, self._tls)
        if call.remaining <= 0:
            raise call.expired(started=False)
        session = ClientSession(contract, framing="http", remembered=self._known, limits=contract.limits)
        response = self._converse(carry(session, self.endpoint, call), call, call.deadline)
        if session.server is not None:
            self._known = (session.server_hash, session.server)
        call.answer_metadata = response.metadata
        return response.take()

    def discover(self, until: float) -> Protocol:
        """The protocol that the server says it serves, from a handshake with no call behind it."""
        return self._converse(discover(self.contract, self.endpoint), None, until)

    def _converse(self, steps: Generator[bytes, bytes, R], call: Call | None, until: float) -> R:
        """Posts what the conversation wants and gives it the answers, to its end."""
        if self._in_use:
            self.close()
        body = next(steps)  # what does not fit is raised here: nothing was sent
        self._in_use = True
        try:
            while True:
                try:
                    answer = self._post(body, call, until)
                except CallError as error:
                    body = steps.throw(error)
                else:
                    body = steps.send(answer)
        except StopIteration as end:
            self._in_use = False
            result: R = end.value
            return result
        except BaseException:  # Ctrl-C too: where the two ends stand is unknown
            self._abort()
            raise

    def _post(self, body: bytes, call: Call | None, until: float) -> bytes:
        stream, again = self._ready(until), False
        while True:
            try:
                stream.send(self._http.post(body), until, lambda data: None)
                break
            except TimeoutError:
                raise self._expired(call, started=False) from None
            except OSError as error:
                if again:
                    raise lost(self.endpoint, f"connection lost: {error}", started=False) from error
                stream, again = self._dial(until), True
        try:
            while (answer := self._http.receive(stream.receive(until))) is None:
                pass
        except TimeoutError:
            raise self._expired(call, started=True) from None
        except OSError as error:
            raise lost(self.endpoint, f"connection lost: {error}", started=True) from error
        except HttpFault as fault:
            raise lost(self.endpoint, str(fault), started=True) from None
        if not self._http.usable:
            stream.close()
            self._stream = None
        return answer

    def _ready(self, until: float) -> Stream:
        stream = self._stream
        if stream is not None and self._http.usable and stream.quiet():
            return stream
        return self._dial(until)

    def _dial(self, until: float) -> Stream:
        if self._stream is not None:
            self._stream.close()
        self._http = HttpExchange(self.endpoint, self.contract.limits)
        self._stream = stream = dial(
            self.endpoint, min(until, time.monotonic() + self._connect_timeout), self._connect_timeout, self._tls
        )
        return stream

    def _expired(self, call: Call | None, *, started: bool) -> CallError:
        if call is not None:
            return call.expired(started=started)
        return CallError(Code.UNAVAILABLE, f"{self.endpoint}: no answer to a handshake in time", started=False)
