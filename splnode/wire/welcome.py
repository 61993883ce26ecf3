"""Who a client is by its handshake, which of our protocols it means, and what it is answered.

Rules 1, 2, 3 and 7 of `wire.server` are kept here.
"""

from collections.abc import Callable

from splnode.avro.protocol import Protocol
from splnode.errors import RemoteWireError
from splnode.wire.directory import ClientProtocols, Directory
from splnode.wire.handshake import BOTH, HandshakeRequest, HandshakeResponse, Match, decide, write_response
from splnode.wire.message import Contract


class Welcome:
    """The handshakes of one connection. `client` and `client_hash` are those of the one that was accepted last.

    `service` is the listener's own, `path` that of an HTTP request (see `Directory`).
    """

    __slots__ = ("_clients", "_directory", "_found", "_guess", "_path", "_service", "client", "client_hash")

    def __init__(
        self, directory: Directory, clients: ClientProtocols, *, service: str | None = None, path: str | None = None
    ) -> None:
        self._directory = directory
        self._clients = clients
        self._service = service
        self._path = path
        self._guess = b""  # the hash last told with NONE
        self._found: tuple[str, Protocol | RemoteWireError] | None = None  # what was read aside
        self.client: Protocol | None = None
        self.client_hash = b""

    def reading(self, request: HandshakeRequest) -> Callable[[], None] | None:
        """What is to be called before `client_of`, and may take long: it reads the text. None: nothing is."""
        text = request.client_protocol
        if text is None or self._clients.of_text(text) is not None or self._is_own(request, text):
            return None
        if self._found is not None and self._found[0] == text:
            return None

        def read() -> None:
            try:
                self._found = text, self._clients.read(text)
            except RemoteWireError as error:
                self._found = text, error

        return read

    def client_of(self, request: HandshakeRequest) -> Protocol | None:
        """The client's protocol: from its text, or known by its hash: here, as one of ours, or on this port.

        RemoteWireError for a text that is no protocol.
        """
        text, client_hash = request.client_protocol, request.client_hash
        own = self._directory.by_hash(client_hash)
        if text is None:
            if self.client is not None and client_hash == self.client_hash:
                return self.client
            return own.protocol if own is not None else self._clients.get(client_hash)
        if own is not None and self._is_own(request, text):
            return own.protocol
        return self._clients.learn(client_hash, text, self._brought(text))

    def contract_for(self, request: HandshakeRequest, client: Protocol | None, message: str) -> Contract:
        """What the client wants to call, whose first message this is."""
        return self._directory.choose(
            request, client, path=self._path, service=self._service, message=message, guess=self._guess
        )

    def accept(self, request: HandshakeRequest, client: Protocol | None, contract: Contract) -> bytes:
        """The answer. A client that is unknown is asked for its text; the other is the connection's from now on."""
        own = contract.protocol
        match = decide(client is not None, request.server_hash == own.md5)
        if client is None:
            self._guess = own.md5 if request.server_hash != own.md5 else b""
        else:
            self.client, self.client_hash = client, request.client_hash
        return BOTH if match is Match.BOTH else write_response(HandshakeResponse(match, own.text, own.md5))

    def _is_own(self, request: HandshakeRequest, text: str) -> bool:
        own = self._directory.by_hash(request.client_hash)
        return own is not None and own.protocol.text == text

    def _brought(self, text: str) -> Protocol | None:
        if self._found is None or self._found[0] != text:
            return None
        found, self._found = self._found[1], None
        if isinstance(found, RemoteWireError):
            raise found
        return found
