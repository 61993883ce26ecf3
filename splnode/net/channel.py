"""A Channel to one endpoint, whatever happens to the connection below it.

| state | means | a call |
|---|---|---|
| IDLE | no connection, nobody has asked for one | dials |
| CONNECTING | a dial or a handshake is under way | waits for it |
| READY | connected (over HTTP: it was when last tried) | is sent |
| TRANSIENT_FAILURE | the last dial failed; the next is due after the backoff | fails at once, with that reason |
| SHUTDOWN | closed | fails at once |

The states are gRPC's (grpc/doc/connectivity-semantics-and-api.md), and so is failing at once while backing off.
"""

import asyncio
import contextlib
import enum
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from typing import Any

from splnode.avro.protocol import Protocol, ProtocolLike, find_protocol
from splnode.config import ChannelsConfig
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, DeclaredError
from splnode.identity import bearer
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.net.bearing import check_bearer, check_login
from splnode.net.connect import open_transport
from splnode.net.connection import ClientConnection
from splnode.net.http_client import HttpPool
from splnode.net.securing import Securing
from splnode.rpc.call import DEFAULT_TIMEOUT, NO_METADATA, Call
from splnode.rpc.client import Client
from splnode.rpc.failure import again
from splnode.rpc.interceptor import Beside, Interceptor
from splnode.wire.client import ClientSession
from splnode.wire.message import Contract
from splnode.wire.track import Track, make_track


class State(enum.Enum):
    """gRPC's connectivity states."""

    IDLE = "IDLE"
    CONNECTING = "CONNECTING"
    READY = "READY"
    TRANSIENT_FAILURE = "TRANSIENT_FAILURE"
    SHUTDOWN = "SHUTDOWN"


class EndpointChannel:
    """Dials on the first call or on `connect`, reconnects with backoff; whoever made it closes it.

    `changed` is called after each change of its state. `login`: see `connect`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        contract: Contract,
        *,
        settings: ChannelsConfig = ChannelsConfig(),  # noqa: B008 - frozen
        limits: Limits = DEFAULT_LIMITS,
        changed: Callable[[], None] = lambda: None,
        tls: Securing | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        if login is not None:
            check_login(endpoint, tls)
        self.endpoint = endpoint
        self.contract = contract
        self._settings = settings
        self._limits = limits
        self._state = State.IDLE
        self._changed = changed
        self._tls = tls
        self._login = login
        self._connection: ClientConnection | HttpPool | None = None
        self._dial: asyncio.Task[ClientConnection | HttpPool | CallError] | None = None
        self._backoff = settings.backoff_initial
        self._retry_at = 0.0
        self._last_error: CallError | None = None
        self._reason = ""  # for which the last connection went
        self._track = make_track()

    @property
    def state(self) -> State:
        """Where the channel stands now."""
        return self._state

    @property
    def last_error(self) -> str:
        """Why the last dial failed, or the connection went; empty after a dial that did not fail."""
        return self._last_error.message if self._last_error else self._reason

    @property
    def server(self) -> Protocol | None:
        """The protocol that the server has shown; None while it is not connected, and over HTTP."""
        connection = self._connection
        return connection.server if isinstance(connection, ClientConnection) else None

    async def connect(self) -> None:
        """Connects now and finishes the handshake, within `connect_timeout`. CallError(UNAVAILABLE) says why not.

        Several at a time wait for one dial. Cancelling is safe: it ends the waiting, and the dial goes on.
        """
        await self._connected(math.inf, "connect")

    async def ping(self, timeout: float, metadata: Mapping[str, bytes] | None = None) -> Mapping[str, bytes]:
        """Asks the peer whether it is there; the metadata of its answer. CallError if it does not say so in time.

        Over HTTP, and in framings where answers come in order, nobody is asked: being connected has to do.
        """
        connection = self._connection
        if connection is None or not connection.is_open:
            raise CallError(Code.UNAVAILABLE, self.last_error or f"{self.endpoint} is not connected", started=False)
        if isinstance(connection, ClientConnection) and not connection.in_order:
            return await connection.ping(timeout, metadata)
        return NO_METADATA

    def forget(self) -> None:
        """The next call dials at once, whatever has failed before: the peer has started anew."""
        self._backoff, self._retry_at = self._settings.backoff_initial, 0.0

    def abort(self, reason: str) -> None:
        """Ends the connection now; calls in flight fail with that reason. The next call dials anew."""
        connection = self._connection
        if isinstance(connection, ClientConnection):
            connection.abort(reason)

    def track(self, contract: Contract) -> Track | None:
        """Where clients of the channel's own contract may put their calls."""
        return self._track if contract is self.contract else None

    def call(self, call: Call) -> Coroutine[Any, Any, object]:
        """Carries the call over the present connection or a new one.

        CallError: UNAVAILABLE (`started` says whether it may have run) and DEADLINE_EXCEEDED, besides what comes back.
        Cancelling is safe, and cancels the call at the other end where that understands it.
        """
        if call.metadata:
            check_bearer(call, self.endpoint, self._tls)
        connection = self._connection
        return connection.call(call) if connection is not None and connection.is_open else self._call_anew(call)

    async def close(self) -> None:
        """Calls in flight fail with UNAVAILABLE, new ones too. May be repeated; on return the socket is closed."""
        self._become(State.SHUTDOWN)
        if self._dial is not None:
            self._dial.cancel()
            await asyncio.wait([self._dial], timeout=1)
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _call_anew(self, call: Call) -> object:
        connection = await self._connected(call.deadline, call.name)
        return await connection.call(call)

    async def _connected(self, deadline: float, name: str) -> "ClientConnection | HttpPool":
        if self._state is State.SHUTDOWN:
            raise self._closed()
        if self._dial is None:
            if self._state is State.TRANSIENT_FAILURE and time.monotonic() < self._retry_at and self._last_error:
                raise self._backing_off(self._last_error)
            self._become(State.CONNECTING)
            self._dial = asyncio.get_running_loop().create_task(self._connect_once(), context=Context())
        dial = self._dial
        wait = None if deadline == math.inf else max(0.0, deadline - time.monotonic())  # dialling has an end itself
        done, _ = await asyncio.wait([dial], timeout=wait)
        if not done:
            text = f"{name}: {self.endpoint} was not connected before the deadline"
            raise CallError(Code.DEADLINE_EXCEEDED, text, started=False)
        if dial.cancelled():
            raise self._closed()
        outcome = dial.result()
        if isinstance(outcome, CallError):
            raise again(outcome, started=False)
        return outcome

    def _become(self, state: State) -> None:
        self._state = state
        connection = self._connection if state is State.READY else None
        track = connection.track(self.contract) if isinstance(connection, ClientConnection) else None
        self._track.lines = track.lines if track is not None else ()
        self._changed()

    def _closed(self) -> CallError:
        return CallError(Code.UNAVAILABLE, f"{self.endpoint}: this channel is closed", started=False)

    def _backing_off(self, error: CallError) -> CallError:
        left = max(0.0, self._retry_at - time.monotonic())
        text = f"{error.message} (next try in {left:.1f} s)"
        return CallError(error.code, text, remote=error.remote, retry_after=left, started=False)

    async def _connect_once(self) -> "ClientConnection | HttpPool | CallError":
        """A connection, or why there is none: nobody may be left to hear it."""
        try:
            connection = await self._open()
        except CallError as error:
            return self._failed(error)
        except BaseException:
            if self._state is State.CONNECTING:
                self._become(State.IDLE)
            raise
        finally:
            self._dial = None
        if self._state is State.SHUTDOWN:
            await connection.close()
            return self._closed()
        self._backoff, self._last_error, self._reason = self._settings.backoff_initial, None, ""
        if connection.is_open:
            self._connection = connection
            self._become(State.READY)
        else:  # it was lost in the moment it was ready
            self._become(State.IDLE)
        return connection

    async def _open(self) -> "ClientConnection | HttpPool":
        settings = self._settings
        framing = self.endpoint.framing or "netty"
        if framing == "http":
            pool = HttpPool(self.endpoint, self.contract, settings, self._limits, self._lost, self._tls)
            await pool.connect()
            return pool
        session = ClientSession(self.contract, framing=framing, limits=self._limits, login=self._login)
        started = time.monotonic()
        connection = await open_transport(
            self.endpoint,
            lambda: ClientConnection(session, self.endpoint, settings, self._lost),
            settings.connect_timeout,
            self._tls,
        )
        try:
            async with asyncio.timeout(started + settings.connect_timeout - time.monotonic()):
                await connection.ready()
        except TimeoutError:
            connection.abort()
            text = f"{self.endpoint}: connected, but no handshake within {settings.connect_timeout:g} s"
            raise CallError(Code.UNAVAILABLE, text, started=False) from None
        except BaseException:
            connection.abort()
            raise
        return connection

    def _failed(self, error: CallError) -> CallError:
        settings, jitter = self._settings, self._settings.backoff_jitter
        self._retry_at = time.monotonic() + self._backoff * random.uniform(1 - jitter, 1 + jitter)
        self._backoff = min(settings.backoff_max, self._backoff * settings.backoff_factor)
        self._last_error = again(error, started=False)
        if self._state is not State.SHUTDOWN:
            self._become(State.TRANSIENT_FAILURE)
        return self._last_error

    def _lost(self, reason: str) -> None:
        if self._state is State.READY:
            self._connection, self._reason = None, reason
            self._become(State.IDLE)


@contextlib.asynccontextmanager
async def connect(  # noqa: PLR0913 - what a program may want to say, each by its name
    endpoint: str | Endpoint,
    protocol: ProtocolLike,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    results: Mapping[str, type] | None = None,
    errors: Sequence[type[DeclaredError]] = (),
    interceptors: Sequence[Interceptor] = (),
    settings: ChannelsConfig = ChannelsConfig(),  # noqa: B008 - frozen
    limits: Limits = DEFAULT_LIMITS,
    tls: Securing | None = None,
    token: str | None = None,
    login: tuple[str, str] | None = None,
) -> AsyncIterator[Client]:
    """A Client of `protocol` (a Protocol, the path of an `.avpr` file, or the name of a protocol that is shipped) at
    `endpoint`, for programs without a node.

        async with splnode.connect("tcp://127.0.0.1:9090", "SPLDataService") as client:
            await client.read(topic="users")

    `timeout` in seconds is what each call gets that names none. `results` gives the msgspec.Struct for a
    message's response, `errors` the classes to raise for declared errors. `tls` is what a `tls://` endpoint is
    shown and must show (`splnode.Tls`; without it the authorities of the system are believed). `token` goes with each
    call, but over no plain link between hosts (CallError(UNAUTHENTICATED), and nothing was sent). `login`, a name and a
    password, is proved by SASL PLAIN where the endpoint says `?framing=sasl`: to a splnode those of a token, to another
    server what it knows. Connects on entering, so that CallError(UNAVAILABLE) comes from here; reconnects by itself;
    closes on leaving.
    """
    where = endpoint if isinstance(endpoint, Endpoint) else Endpoint.parse(endpoint)
    named = {error.schema_name: error for error in errors}
    contract = Contract(find_protocol(protocol), results=results or {}, errors=named, limits=limits)
    channel = EndpointChannel(where, contract, settings=settings, limits=limits, tls=tls, login=login)
    try:
        await channel.connect()
        bringing = (Beside(bearer(token)),) if token is not None else ()
        yield Client(channel, contract, timeout=timeout, interceptors=(*interceptors, *bringing))
    finally:
        await channel.close()
