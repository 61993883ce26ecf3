"""Which protocol of ours a client means, and which protocol of its own it speaks.

Avro knows one protocol a server; a port of ours has many. The order, first hit counts:

0. the full name of its protocol, where that is known: from its text, or from its hash
1. the serverHash it presents is one of ours
2. its clientHash is the MD5 of one of our texts, or of one as JavaScript writes it
3. the short name of its protocol
4. the HTTP path
5. the `service` of the listener
6. the message called with the handshake, if just one service has it
7. the default service

It matters to guess right at the first NONE: Python and Ruby clients then take the protocol named with it
for the server's, and fail if the answer to their text is not BOTH. avsc closes its channel where that protocol
is not the one it means, and says nothing before but its hash, the MD5 of JSON.stringify(protocol). That hash
only tells which service is meant; what the client speaks it still has to tell.

The serverHash may be no more than our own guess, which the client repeats (over HTTP on another connection), or
what another client in its process was told at this address (Java). So the full name goes first: else a message
that two services have would be called at the wrong one.
"""

import json
from collections.abc import Callable, Iterable

from splnode.avro.digest import md5
from splnode.avro.protocol import Protocol
from splnode.errors import DataError, RemoteWireError, SchemaError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.wire.cache import BoundedCache
from splnode.wire.handshake import HandshakeRequest
from splnode.wire.message import PAIR_TEXTS, Contract


class Directory:
    """The contracts on one port. `default` is the full or short name of the default service; without it the first.

    `load` gives what a peer is told that asks for the load (`spl-load`, see `observe.load`); empty: nothing.
    """

    def __init__(self, contracts: Iterable[Contract] = (), default: str | None = None) -> None:
        self.default = default
        self.load: Callable[[], bytes] = bytes
        self._contracts: dict[str, Contract] = {}
        self._hashes: dict[bytes, Contract] = {}
        self._hints: dict[bytes, Contract] = {}
        self._names: dict[str, Contract] = {}
        for contract in contracts:
            self.add(contract)

    @property
    def contracts(self) -> tuple[Contract, ...]:
        """All of them, in the order they were added."""
        return tuple(self._contracts.values())

    def add(self, contract: Contract) -> None:
        """Serves one more protocol; it replaces one of the same full name. Open connections keep what they have."""
        self._contracts[contract.protocol.name] = contract
        self._hints[_javascript_hash(contract.protocol)] = contract
        self._index()

    def remove(self, name: str) -> None:
        """Serves the protocol of this full name no more."""
        self._contracts.pop(name, None)
        self._index()

    def by_hash(self, md5: bytes) -> Contract | None:
        """The contract whose text has this MD5."""
        return self._hashes.get(md5)

    def by_name(self, name: str | None) -> Contract | None:
        """The contract of this full name, or the only one of this short name."""
        return self._names.get(name) if name else None

    def choose(
        self,
        request: HandshakeRequest,
        client: Protocol | None,
        *,
        path: str | None = None,
        service: str | None = None,
        message: str | None = None,
        guess: bytes = b"",
    ) -> Contract:
        """What a client means by its handshake. RemoteWireError where nothing is served at all.

        `guess` is the hash that we told it with NONE without knowing what it meant: that a client repeats it
        says nothing, so its name goes before it (avsc repeats it, and takes CLIENT well).
        """
        presented = self._hashes.get(request.server_hash)
        found = (
            (client and self._contracts.get(client.name))
            or (presented if request.server_hash != guess else None)
            or self._hashes.get(request.client_hash)
            or self._hints.get(request.client_hash)
            or (client and (self.by_name(client.name) or self.by_name(client.short_name)))
            or presented
            or self.by_name(_service_in(path))
            or self.by_name(service)
            or self._only_with(message)
            or self.by_name(self.default)
            or next(iter(self._contracts.values()), None)
        )
        if found is None:
            raise RemoteWireError("a handshake, but no protocol is served here")
        return found

    def _only_with(self, message: str | None) -> Contract | None:
        if not message:
            return None
        having = [each for each in self._contracts.values() if message in each.protocol.messages]
        return having[0] if len(having) == 1 else None

    def _index(self) -> None:
        served = self._contracts.values()
        self._hints = {md5: each for md5, each in self._hints.items() if each in served}
        self._hashes = {each.protocol.md5: each for each in self._contracts.values()}
        short: dict[str, list[Contract]] = {}
        for each in self._contracts.values():
            short.setdefault(each.protocol.short_name, []).append(each)
        self._names = {name: each[0] for name, each in short.items() if len(each) == 1} | self._contracts


class ClientProtocols:
    """The protocols of clients, bounded, shared by the connections of a port.

    A client is known by its hash alone only where the hash is the MD5 of the text that was sent with it; what
    else it may have said counts on its own connection. A cached entry grants nothing: MD5 is forgeable.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        weight = PAIR_TEXTS * limits.protocol_bytes
        self._known: BoundedCache[bytes, Protocol] = BoundedCache(limits.client_protocols, weight)
        self._parsed: BoundedCache[str, Protocol] = BoundedCache(limits.client_protocols, weight)

    def __len__(self) -> int:
        return len(self._parsed)

    @property
    def dropped(self) -> int:
        """Those that had to make room for others so far."""
        return self._parsed.dropped

    def get(self, client_hash: bytes) -> Protocol | None:
        """What a client means that sends no text."""
        return self._known.get(client_hash)

    def of_text(self, text: str) -> Protocol | None:
        """The protocol of a text that was read before."""
        return self._parsed.get(text)

    def read(self, text: str) -> Protocol:
        """The protocol of any text; nothing is kept, so that a thread may do it. RemoteWireError: it is none."""
        return parse(text, "the client's protocol", self.limits)

    def learn(self, client_hash: bytes, text: str, found: Protocol | None = None) -> Protocol:
        """The protocol of a text that came with this hash, kept; `found` where it was read already."""
        protocol = found or self._parsed.get(text) or self.read(text)
        self._parsed.put(text, protocol, len(text))
        if protocol.md5 == client_hash:
            self._known.put(client_hash, protocol, len(text))
        return protocol


def parse(text: str, what: str, limits: Limits) -> Protocol:
    """The protocol that a peer sent. RemoteWireError, with the place and the reason, where it is none.

    The `avro` package is not asked: it takes five times as long, and a hostile text up to 0.3 s.
    """
    try:
        return Protocol.parse(text, limits=limits, referee=False)
    except (SchemaError, DataError) as error:
        raise RemoteWireError(f"{what} cannot be read: {error}") from error


def _javascript_hash(protocol: Protocol) -> bytes:
    """The MD5 of JSON.stringify(JSON.parse(text)), but for numbers that JavaScript writes in another way."""
    text = json.dumps(json.loads(protocol.text), separators=(",", ":"), ensure_ascii=False)
    return md5(text.encode("utf-8", "surrogatepass"))


def _service_in(path: str | None) -> str:
    return (path or "").partition("?")[0].strip("/").rpartition("/")[2]
