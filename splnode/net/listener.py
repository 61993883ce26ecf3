"""Sockets that accept: one path for TCP and Unix sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from splnode.avro.protocol import ProtocolLike, find_protocol
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.net.accepted import ServerConnection
from splnode.net.bind import bind_error, bind_unix, file_identity, unlink_own
from splnode.net.host import Host
from splnode.net.http_server import HttpServerConnection
from splnode.rpc.admission import Admission
from splnode.rpc.call import DEFAULT_TIMEOUT
from splnode.rpc.channel import Channel
from splnode.rpc.interceptor import Interceptor
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.directory import Directory

BACKLOG: Final = 1024
"""Connections that the kernel keeps until they are accepted; net.core.somaxconn may cut it."""


class Listener:
    """Serves the protocols of `directory` through `channel` on any number of endpoints.

    `open` binds and begins to accept; `stop_accepting` closes the sockets, `close` also the connections.
    All of them belong to one event loop. Whoever made it closes it.
    """

    def __init__(
        self,
        channel: Channel,
        directory: Directory,
        *,
        limits: Limits = DEFAULT_LIMITS,
        timeout: float = DEFAULT_TIMEOUT,
        insecure: bool = False,
    ) -> None:
        self.host = Host(channel, directory, limits, timeout)
        self._insecure = insecure
        self._servers: list[tuple[Endpoint, asyncio.Server]] = []
        self._socket_files: dict[str, tuple[int, int]] = {}

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it listens, with the ports that the system chose."""
        return [endpoint for endpoint, _ in self._servers]

    async def open(self, endpoint: Endpoint) -> Endpoint:
        """Binds, accepts from now on, and gives the endpoint with its real port. ConfigError says why not."""
        if not endpoint.is_local and not self._insecure:
            raise ConfigError(
                f"{endpoint}: others than this host could connect, unencrypted and unknown; listen on 127.0.0.1 or a"
                " Unix socket, or allow it with --insecure (node.insecure = true)"
            )
        loop = asyncio.get_running_loop()

        def accept() -> ServerConnection | HttpServerConnection:
            kind = HttpServerConnection if endpoint.framing == "http" else ServerConnection
            return kind(self.host, endpoint)

        if endpoint.scheme == "unix":
            sock = bind_unix(endpoint)
            server = await loop.create_unix_server(accept, sock=sock, backlog=BACKLOG)
            self._socket_files[endpoint.path] = file_identity(endpoint.path)
            bound = endpoint
        else:
            try:
                server = await loop.create_server(accept, endpoint.host, endpoint.port, backlog=BACKLOG)
            except OSError as error:
                raise ConfigError(bind_error(endpoint, error)) from error
            bound = replace(endpoint, port=server.sockets[0].getsockname()[1])
        self._servers.append((bound, server))
        return bound

    def stop_accepting(self) -> None:
        """No new connections; those there are go on. Socket files that are ours are removed."""
        for endpoint, server in self._servers:
            if endpoint.scheme == "unix":
                unlink_own(endpoint.path, self._socket_files.pop(endpoint.path, None))
            server.close()

    async def close(self) -> None:
        """Ends what runs and closes every connection; what is already written is still sent."""
        self.stop_accepting()
        await self.host.close()
        self._servers.clear()


class Listening:
    """What `listen` gives."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it listens, in the order asked for."""
        return self._listener.endpoints

    async def close(self) -> None:
        """Closes the sockets and every connection before the end of the `async with`."""
        await self._listener.close()


@contextlib.asynccontextmanager
async def listen(
    endpoints: Iterable[str | Endpoint],
    services: Mapping[ProtocolLike, object],
    *,
    interceptors: Sequence[Interceptor] = (),
    admission: Admission | None = None,
    limits: Limits = DEFAULT_LIMITS,
    timeout: float = DEFAULT_TIMEOUT,
    insecure: bool = False,
) -> AsyncIterator[Listening]:
    """Serves implementations of protocols, for programs without a node.

        async with splnode.listen(["tcp://127.0.0.1:0"], {"inventory.avpr": Inventory()}) as server:
            print(server.endpoints[0])

    An implementation is any object with a method for each message (see `rpc.server.Server`; SchemaError says
    which does not fit). ConfigError names an endpoint that cannot be used. On leaving, what runs is cancelled
    and the implementations' own `close` is called.
    """
    gate = admission or Admission()
    found = [(find_protocol(protocol), implementation) for protocol, implementation in services.items()]
    servers = [Server(p, each, interceptors=(gate, *interceptors), limits=limits) for p, each in found]
    router = Router({server.protocol.name: server for server in servers})
    directory = Directory(server.contract for server in servers)
    listener = Listener(router, directory, limits=limits, timeout=timeout, insecure=insecure)
    try:
        for endpoint in endpoints:
            await listener.open(endpoint if isinstance(endpoint, Endpoint) else Endpoint.parse(endpoint))
        yield Listening(listener)
    finally:
        await listener.close()
        await router.close()
