"""What one node, or one client, says and asks over TLS: its certificate, whom it trusts, what it accepts.

| given | it proves itself by | it believes |
|---|---|---|
| `certificate` (with `key`, `authority`) | that certificate | certificates of the authority |
| `authority` alone | nothing | certificates of the authority |
| `mesh_key` | a certificate that it makes itself, of an authority that follows from the key | who has the same key |
| nothing | nothing | the authorities of the system |

Where the authority is that of a mesh (its certificate is named `spiffe://MESH`), a server must be a node of this mesh,
and the one that an endpoint names; its host name is of no matter. Of any other authority the host name must match.

The mesh key goes nowhere. Everybody who has it makes the same authority of it (HKDF, RFC 5869; Ed25519), and signs a
certificate for the moment. TLS 1.3 then proves for each connection, bound to it by CertificateVerify, that both ends
know the key (RFC 8446, 4.4.3). So whoever has the key can be any node of the mesh.
"""

import itertools
import math
import ssl
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from splnode.endpoint import SECURED, Endpoint
from splnode.errors import ConfigError
from splnode.net.tls_files import Certificate, Pair, Stamp, beside, pair, read_secret, since, stamp, trust
from splnode.net.tls_names import names_in

LOOK: Final = 1.0
"""Seconds between two looks at the files, as long as there are handshakes."""
RENEWED: Final = 86_400.0
"""Seconds after which a certificate made of a mesh key is made anew. It is valid for thirty times that."""
ENDLESS: Final = math.inf
"""When that one expires, as far as anybody must care."""
Mutual = Literal["on", "ask", "off"]


class Context(ssl.SSLContext):
    """One that knows its `mesh`: its peers' names are believed only of that."""

    mesh = ""


class _Made(NamedTuple):
    """What was read of the files, at one moment: for who comes a context for each certificate, the first before all."""

    servers: tuple[tuple[Certificate, Context], ...]
    client: Context
    mesh: str
    node: str
    until: float  # the moment by `time.monotonic` to make it anew


class Tls:
    """Contexts for both ends, made of files that are read again when they change. ConfigError says what is wrong.

    `certificate` is a PEM file (behind it those of authorities between, if there are any). `key` is that with `.key`
    for its suffix where there is such a file, else it is in the same; `authority` is `authority.pem` beside it where
    there is one. `certificates` are further ones, with their keys in the same way, for clients that ask for a name that
    the first does not have (Server Name Indication). `mutual` says whether who comes must show a certificate ("on"),
    may ("ask"), or is not asked ("off"). `plain` says whether the same ports speak plain too, and whether others are
    called so ("both"), or not ("off"). `node` is the id that a certificate made of the mesh key says, and that one in a
    file must say.
    """

    def __init__(
        self,
        *,
        certificate: str | None = None,
        key: str | None = None,
        authority: str | None = None,
        certificates: Sequence[str] = (),
        mesh_key: str | None = None,
        mutual: Mutual = "ask",
        plain: Literal["off", "both"] = "off",
        node: str = "",
    ) -> None:
        if mesh_key and (certificate or key or authority):
            raise ConfigError("tls: a mesh key stands alone: give it, or certificate, key and authority")
        if key and not certificate:
            raise ConfigError("tls: a key without its certificate: give both (tls.certificate, --cert)")
        if certificates and not (certificate or mesh_key):
            raise ConfigError("tls: further certificates without a first: give tls.certificate, or tls.mesh_key")
        self._pair = pair(certificate, key) if certificate else None
        self._further = tuple(pair(each) for each in certificates)
        self._mesh_key = Path(mesh_key).expanduser() if mesh_key else None
        found = beside(self._pair.certificate, "authority", ".pem") if self._pair is not None else None
        self._authority = Path(authority).expanduser() if authority else found
        self._mutual: Mutual = mutual
        self.plain = plain
        self._node = node
        self._stamps = self._files()
        self._made = self._make()
        self._look_at = time.monotonic() + LOOK

    @property
    def serves(self) -> bool:
        """Whether it can be a server's: it has a certificate."""
        return bool(self._made.servers)

    @property
    def mesh(self) -> str:
        """The name of the mesh; "" where there is none."""
        return self._made.mesh

    @property
    def node(self) -> str:
        """The node that its certificate names; "" where there is none."""
        return self._made.node

    @property
    def shown(self) -> list[Certificate]:
        """What it shows to who comes, the first before all. One that a mesh key makes is renewed in time."""
        return [certificate for certificate, _ in self._made.servers]

    @property
    def expires(self) -> float | None:
        """When the first of its certificates ends, in seconds since 1970; None where that is nobody's concern."""
        return min((each.expires for each in self.shown if each.expires != ENDLESS), default=None)

    @property
    def authority(self) -> str:
        """The file of the authority that it believes; "" where those of the system are believed, or the mesh key is."""
        return str(self._authority or "")

    @property
    def source(self) -> str:
        """The file that it proves itself by; "" if it does not."""
        return str(self._pair.certificate if self._pair is not None else self._mesh_key or "")

    @property
    def authorities_end(self) -> list[float]:
        """When those that `authority` has end, in seconds since 1970."""
        found = self._made.client.get_ca_certs() if self._authority is not None else []
        return [float(ssl.cert_time_to_seconds(str(each["notAfter"]))) for each in found]

    def listened(self, endpoint: Endpoint) -> Endpoint:
        """What is spoken where a node listens: TLS, unless only this host can come, or there is no certificate."""
        return _secured(endpoint) if self.serves else endpoint

    def dialled(self, endpoint: Endpoint) -> Endpoint:
        """What is spoken with another: TLS, unless it is on this host, or plain is allowed."""
        return endpoint if self.plain == "both" else _secured(endpoint)

    def server(self, name: str = "") -> ssl.SSLContext:
        """For who comes, and asks for that host (in small letters): with the first certificate that is for it, or else
        the first of all. Only where it `serves`."""
        servers = self._present().servers
        if name and len(servers) > 1:
            for certificate, context in servers:
                if certificate.is_for(name):
                    return context
        return servers[0][1]

    def client(self) -> ssl.SSLContext:
        """For dialling. `check` comes after the handshake, before a byte is said."""
        return self._present().client

    def check(self, ssl_object: Any, endpoint: Endpoint) -> str:
        """What is wrong with who is there, though the certificate is good; "" if nothing is."""
        mesh, node = names_in(ssl_object.getpeercert() or {})
        ours = ssl_object.context.mesh if not ssl_object.context.check_hostname else ""
        if ours and not node:
            return f"its certificate names no node of the mesh {ours}"
        if ours and mesh != ours:
            return f"its certificate is of the mesh {mesh}, and ours is {ours}"
        if endpoint.node and node != endpoint.node:
            return f"it is {node or 'no node'}, and should be {endpoint.node}"
        return ""

    def refresh(self) -> bool:
        """Reads the files again if they have changed. ConfigError if they are no good: then the old ones stay."""
        stamps = self._files()
        if stamps == self._stamps and time.monotonic() < self._made.until:
            return False
        self._stamps = stamps
        made = self._make()
        self._same_node(made)
        self._made = made
        return True

    def fault(self) -> str:
        """Why the files, as they are now, would not be taken; "" if they would. Nothing is changed."""
        try:
            self._same_node(self._make())
        except ConfigError as error:
            return str(error)
        return ""

    def look(self) -> None:
        """`refresh`, with what came of it in the log."""
        self._look_at = time.monotonic() + LOOK
        try:
            if self.refresh():
                _log().info("certificate read again", file=self.source)
        except ConfigError as error:
            _log().error("certificate not read again: the old one stays", reason=str(error))

    def _same_node(self, made: _Made) -> None:
        if made.node != self._made.node:
            raise ConfigError(f"{self.source} is of the node {made.node or '(none)'}, and this one is {self.node}")

    def _present(self) -> _Made:
        if time.monotonic() >= self._look_at:
            self.look()
        return self._made

    def _files(self) -> list[Stamp]:
        pairs = [self._pair, *self._further] if self._pair is not None else self._further
        paths = [*itertools.chain(*pairs), self._authority, self._mesh_key]
        return [stamp(path) for path in paths if path is not None]

    def _make(self) -> _Made:
        if self._mesh_key is not None:
            return self._make_of_key(self._mesh_key)
        client = _context(ssl.PROTOCOL_TLS_CLIENT)
        if self._authority is not None:
            trust(client, self._authority)
        else:
            client.load_default_certs()
        mesh = _mesh_of(client) if self._authority is not None else ""
        client.check_hostname = not mesh
        client.mesh = mesh
        if self._pair is None:
            return _Made((), client, mesh, "", time.monotonic() + RENEWED)
        own = self._pair.read()
        if mesh and (own.mesh != mesh or not own.node):
            named = f"names a node of the mesh {own.mesh}" if own.mesh else "names no node"
            raise ConfigError(f"tls: {own.file} {named}, and {self._authority} is of the mesh {mesh}")
        self._pair.load(client)
        client.mesh = mesh or own.mesh
        return self._finish([], [self._pair, *self._further], client, own.node)

    def _make_of_key(self, path: Path) -> _Made:
        from splnode.net.tls_mint import MESH_SECONDS, mint  # noqa: PLC0415 - cryptography, for who needs it

        minted = mint(read_secret(path), self._node or "client")
        server, client = _context(ssl.PROTOCOL_TLS_SERVER), _context(ssl.PROTOCOL_TLS_CLIENT)
        for context in (server, client):
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_verify_locations(cadata=minted.authority)
            context.mesh = minted.mesh
            minted.load_into(context)
        client.check_hostname = False
        assert MESH_SECONDS > RENEWED  # it is made anew long before it ends
        first = Certificate(str(path), minted.mesh, self._node, (), 0.0, ENDLESS)
        return self._finish([(first, server)], self._further, client, self._node, minted.authority)

    def _finish(
        self,
        servers: list[tuple[Certificate, Context]],
        pairs: Iterable[Pair],
        client: Context,
        node: str,
        authority: str = "",
    ) -> _Made:
        """With those pairs besides; `authority` (PEM), or that of the file, says who may come."""
        asks, ours = bool(authority or self._authority), self._node or node
        if self._mutual == "on" and not asks:
            raise ConfigError('tls: mutual = "on" needs the authority whose certificates are good: tls.authority')
        for each in pairs:
            shown, context = each.read(), _context(ssl.PROTOCOL_TLS_SERVER)
            if shown.node and shown.mesh == client.mesh and shown.node != ours:
                raise ConfigError(f"tls: {shown.file} is of the node {shown.node}, and this one is {ours}")
            each.load(context)
            if authority:
                context.load_verify_locations(cadata=authority)
            elif self._authority is not None:
                trust(context, self._authority)
            servers.append((shown, context))
        wanted = {"on": ssl.CERT_REQUIRED, "ask": ssl.CERT_OPTIONAL, "off": ssl.CERT_NONE}
        for _, context in servers:
            context.verify_mode = wanted[self._mutual] if asks else ssl.CERT_NONE
            context.mesh = client.mesh if asks else ""
        return _Made(tuple(servers), client, client.mesh, node, time.monotonic() + RENEWED)


def _secured(endpoint: Endpoint) -> Endpoint:
    if endpoint.is_local or endpoint.scheme not in SECURED:
        return endpoint
    return endpoint.replace(scheme=SECURED[endpoint.scheme])


def _context(protocol: int) -> Context:
    context = Context(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # each connection proves anew who is there: nothing is taken up again, nor sent early
    return context


def _mesh_of(context: Context) -> str:
    """The mesh whose authority it trusts; "" for any other authority."""
    found = {mesh if not node else "" for mesh, node in map(names_in, context.get_ca_certs())}
    if len(found) > 1:
        named = ", ".join(sorted(mesh or "none" for mesh in found))
        raise ConfigError(f"tls: the authorities are of several meshes ({named}): each could make nodes of the others")
    return found.pop() if found else ""


def _log() -> Any:
    import structlog  # noqa: PLC0415 - a short program says nothing, and does not pay for it

    return structlog.get_logger("splnode.net")


def expiry(tls: Sequence[Tls], now: float, days: float = 30) -> list[tuple[str, str]]:
    """File and sentence for each certificate that has ended, or will within so many days."""
    found = []
    for each in itertools.chain.from_iterable(each.shown for each in tls):
        if each.expires - now < days * 86_400:
            left = (each.expires - now) / 86_400
            verb = f"expires in {left:.0f} days, at" if left > 0 else "has expired since"
            found.append((each.file, f"the certificate {verb} {since(each.expires)}: splnode cert node"))
    return found
