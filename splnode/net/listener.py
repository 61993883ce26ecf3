"""Sockets that accept: one path for TCP and Unix sockets."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final

from splnode.avro.protocol import ProtocolLike, find_protocol
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.net.accepted import ServerConnection
from splnode.net.accepting import Entrance
from splnode.net.bind import Address, bind_error, bind_tcp, bind_unix, file_identity, unlink_own
from splnode.net.host import Host
from splnode.net.http_server import HttpServerConnection
from splnode.net.metered import MeteredConnection, MeteredHttpConnection
from splnode.net.tls import Tls
from splnode.net.tls_gate import Gate
from splnode.rpc.admission import Admission
from splnode.rpc.call import DEFAULT_TIMEOUT, Peer
from splnode.rpc.channel import Channel
from splnode.rpc.guard import Guard
from splnode.rpc.interceptor import Interceptor
from splnode.rpc.router import Router
from splnode.rpc.server import Server
from splnode.wire.directory import Directory

BACKLOG: Final = 1024
"""Connections that the kernel keeps until they are accepted; net.core.somaxconn may cut it."""


class Listener:
    """Serves the protocols of `directory` through `channel` on any number of endpoints.

    `open` binds and begins to accept; `stop_accepting` closes the sockets, `close` also the connections.
    All of them belong to one event loop. Of the calls of one connection at most `share` run at a time; the others
    wait in it. Whoever made it closes it.
    """

    def __init__(
        self,
        channel: Channel,
        directory: Directory,
        *,
        limits: Limits = DEFAULT_LIMITS,
        timeout: float = DEFAULT_TIMEOUT,
        insecure: bool = False,
        share: int = sys.maxsize,
        tls: Tls | None = None,
    ) -> None:
        self.host = Host(channel, directory, limits, timeout, share)
        self._insecure = insecure
        self._tls = tls
        self._servers: list[tuple[Endpoint, list[Entrance | Gate]]] = []
        self._closed = False
        self._socket_files: dict[str, tuple[int, int]] = {}

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where it listens, with the ports that the system chose."""
        return [endpoint for endpoint, _ in self._servers]

    async def open(self, endpoint: Endpoint, sockets: Sequence[socket.socket] = ()) -> Endpoint:
        """Binds, accepts from now on, and gives the endpoint with its real port. ConfigError says why not.

        A name with several addresses is listened on at each of them, on one port. Where `sockets` that listen are
        given, these are accepted on and closed in the end; a Unix socket's file is then its binder's to remove.
        Where there is a certificate, an endpoint that others can reach is one over TLS.
        """
        if self._closed:
            raise ConfigError(f"{endpoint}: this listener is closed")
        endpoint = secured(endpoint, self._tls)
        if not sockets:
            check_exposure(endpoint, self._insecure, self._tls)
            if endpoint.scheme == "unix":
                sockets = [bind_unix(endpoint)]
                self._socket_files[endpoint.path] = file_identity(endpoint.path)
            else:
                sockets = bind_tcp(endpoint, await addresses(endpoint))
                endpoint = endpoint.replace(port=sockets[0].getsockname()[1])
        servers: list[Entrance | Gate] = []
        self._servers.append((endpoint, servers))
        try:
            for sock in sockets:
                servers.append(self._accept(endpoint, sock))
        except BaseException as error:
            for sock in sockets[len(servers) :]:
                sock.close()
            self._withdraw(endpoint, servers)
            self._servers.remove((endpoint, servers))
            if isinstance(error, OSError):
                raise ConfigError(bind_error(endpoint, error)) from error
            raise
        return endpoint

    async def adopt(self, endpoint: Endpoint, sock: socket.socket, known: Peer | None = None) -> None:
        """Serves the peer of a socket that is connected already, as if it had come to `endpoint`.

        `known` is who it is, where that is known better than the connection proves it.
        """
        connection = self._connection(endpoint)
        if known is not None and isinstance(connection, ServerConnection):
            connection.known = known
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)

    def stop_accepting(self) -> None:
        """No new connections; those there are go on. Socket files that are ours are removed."""
        self._closed = True
        for endpoint, servers in self._servers:
            self._withdraw(endpoint, servers)

    async def close(self) -> None:
        """Ends what runs and closes every connection; what is already written is still sent."""
        self.stop_accepting()
        await self.host.close()
        self._servers.clear()

    def _accept(self, endpoint: Endpoint, sock: socket.socket) -> Entrance | Gate:
        def connection() -> ServerConnection | HttpServerConnection:
            return self._connection(endpoint)

        sock.listen(BACKLOG)
        if endpoint.is_secure and self._tls is not None:
            return Gate(sock, self._tls, self.host, connection)
        # At a Unix socket the node's own user comes in also where nobody else does: who it is shows only there.
        has_room = self.host.has_room_for_own if sock.family == socket.AF_UNIX else self.host.has_room
        return Entrance(sock, has_room, connection, self.host.makes_wait)

    def _connection(self, endpoint: Endpoint) -> ServerConnection | HttpServerConnection:
        http = endpoint.framing == "http"
        if self.host.rates.on:
            return (MeteredHttpConnection if http else MeteredConnection)(self.host, endpoint)
        return (HttpServerConnection if http else ServerConnection)(self.host, endpoint)

    def _withdraw(self, endpoint: Endpoint, servers: list[Entrance | Gate]) -> None:
        if endpoint.scheme == "unix":
            unlink_own(endpoint.path, self._socket_files.pop(endpoint.path, None))
        for server in servers:
            server.close()


def secured(endpoint: Endpoint, tls: Tls | None) -> Endpoint:
    """What is spoken there: TLS where there is a certificate, and others can come. ConfigError if one is missing."""
    if tls is not None:
        endpoint = tls.listened(endpoint)
    if endpoint.is_secure and (tls is None or not tls.serves):
        raise ConfigError(f"{endpoint}: TLS needs a certificate (--cert, tls.certificate) or a mesh key (--mesh-key)")
    return endpoint


def check_exposure(endpoint: Endpoint, insecure: bool, tls: Tls | None = None) -> None:
    """ConfigError for an endpoint that other hosts can reach without TLS, unless that is wanted."""
    plain = not endpoint.is_secure or (tls is not None and tls.plain == "both")
    if plain and not endpoint.is_local and not insecure:
        if endpoint.is_secure:
            text = 'tls.plain = "both" lets other hosts connect unencrypted and unknown too: say --insecure'
            raise ConfigError(f'{endpoint}: {text} (node.insecure = true) as well, or leave tls.plain "off"')
        raise ConfigError(
            f"{endpoint}: others than this host could connect, unencrypted and unknown; listen on 127.0.0.1 or a"
            " Unix socket, give it a certificate (--cert, see `splnode cert`) or a mesh key (--mesh-key), or allow it"
            " with --insecure (node.insecure = true)"
        )


async def addresses(endpoint: Endpoint) -> list[Address]:
    """What the host's name stands for. ConfigError if it stands for nothing."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigError(bind_error(endpoint, error)) from error
    except ValueError as error:  # no name that could be looked up
        raise ConfigError(f"{endpoint}: cannot listen: {error}") from error
    return [(family, address) for family, _, _, _, address in found]


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
async def listen(  # noqa: PLR0913 - what a program may want to say, each by its name
    endpoints: Iterable[str | Endpoint],
    services: Mapping[ProtocolLike, object],
    *,
    interceptors: Sequence[Interceptor] = (),
    admission: Admission | None = None,
    limits: Limits = DEFAULT_LIMITS,
    timeout: float = DEFAULT_TIMEOUT,
    insecure: bool = False,
    tls: Tls | None = None,
    guard: Guard | None = None,
) -> AsyncIterator[Listening]:
    """Serves implementations of protocols, for programs without a node.

        async with splnode.listen(["tcp://127.0.0.1:0"], {"inventory.avpr": Inventory()}) as server:
            print(server.endpoints[0])

    An implementation is any object with a method for each message (see `rpc.server.Server`; SchemaError says
    which does not fit). ConfigError names an endpoint that cannot be used, or a protocol that is there twice. With
    `tls` (a `splnode.Tls`) what others can reach speaks TLS. On leaving, what runs is cancelled and the
    implementations' own `close` is called.

    `guard` says who may call what, and is for this listener alone: `splnode.Guard()` has the policy that a Node has
    without settings, `splnode.Guard(splnode.read_policy(path))` one of your own. Without a guard there is no policy,
    unlike in a Node: whoever reaches an endpoint may call all that is served there.
    """
    gate = admission or Admission()
    found = [(find_protocol(protocol), implementation) for protocol, implementation in services.items()]
    servers = [Server(p, each, interceptors=(gate, *interceptors), limits=limits) for p, each in found]
    router = Router({server.protocol.name: server for server in servers})
    if len(router.services) < len(servers):
        raise ConfigError(f"{len(servers)} services have {len(router.services)} names: {', '.join(router.services)}")
    if guard is not None:
        router.obey(guard)
    directory = Directory(server.contract for server in servers)
    listener = Listener(router, directory, limits=limits, timeout=timeout, insecure=insecure, share=gate.share, tls=tls)
    try:
        for endpoint in endpoints:
            await listener.open(endpoint if isinstance(endpoint, Endpoint) else Endpoint.parse(endpoint))
        yield Listening(listener)
    finally:
        try:
            await listener.close()
        finally:
            await router.close()
