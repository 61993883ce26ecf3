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

import ssl
import time
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from splnode.endpoint import PLAIN, SECURED, Endpoint
from splnode.errors import ConfigError
from splnode.net.tls_names import names_in

LOOK: Final = 1.0
"""Seconds between two looks at the files, as long as there are handshakes."""
RENEWED: Final = 86_400.0
"""Seconds after which a certificate made of a mesh key is made anew. It is valid for thirty times that."""
Mutual = Literal["on", "ask", "off"]


class Context(ssl.SSLContext):
    """One that knows its `mesh`: its peers' names are believed only of that."""

    mesh = ""


class _Made(NamedTuple):
    """What was read of the files, at one moment."""

    server: Context | None
    client: Context
    mesh: str
    node: str
    expires: float | None
    until: float  # the moment by `time.monotonic` to make it anew


class Tls:
    """Contexts for both ends, made of files that are read again when they change. ConfigError says what is wrong.

    `certificate` is a PEM file (behind it those of authorities between, if there are any). `key` is that with `.key`
    for its suffix where there is such a file, else it is in the same; `authority` is `authority.pem` beside it where
    there is one. `mutual` says whether who comes must show a certificate ("on"), may ("ask"), or is not asked ("off").
    `plain` says whether the same ports speak plain too, and whether others are called so ("both"), or not ("off").
    `node` is the id that a certificate made of the mesh key says, and that one in a file must say.
    """

    def __init__(
        self,
        *,
        certificate: str | None = None,
        key: str | None = None,
        authority: str | None = None,
        mesh_key: str | None = None,
        mutual: Mutual = "ask",
        plain: Literal["off", "both"] = "off",
        node: str = "",
    ) -> None:
        if mesh_key and (certificate or key or authority):
            raise ConfigError("tls: a mesh key stands alone: give it, or certificate, key and authority")
        if key and not certificate:
            raise ConfigError("tls: a key without its certificate: give both (tls.certificate, --cert)")
        self._certificate, self._mesh_key = _path(certificate), _path(mesh_key)
        self._key = _path(key) or _beside(self._certificate, "", ".key") or self._certificate
        self._authority = _path(authority) or _beside(self._certificate, "authority", ".pem")
        self._mutual: Mutual = mutual
        self.plain = plain
        self._node = node
        self._stamps = self._files()
        self._made = self._make()
        self._look_at = time.monotonic() + LOOK

    @property
    def serves(self) -> bool:
        """Whether it can be a server's: it has a certificate."""
        return self._made.server is not None

    @property
    def mesh(self) -> str:
        """The name of the mesh; "" where there is none."""
        return self._made.mesh

    @property
    def node(self) -> str:
        """The node that its certificate names; "" where there is none."""
        return self._made.node

    @property
    def expires(self) -> float | None:
        """When its certificate ends, in seconds since 1970; None where that is nobody's concern."""
        return self._made.expires

    @property
    def source(self) -> str:
        """The file that it proves itself by; "" if it does not."""
        return str(self._certificate or self._mesh_key or "")

    def listened(self, endpoint: Endpoint) -> Endpoint:
        """What is spoken where a node listens: TLS, unless only this host can come, or there is no certificate."""
        return _secured(endpoint) if self.serves else endpoint

    def dialled(self, endpoint: Endpoint) -> Endpoint:
        """What is spoken with another: TLS, unless it is on this host, or plain is allowed."""
        return endpoint if self.plain == "both" else _secured(endpoint)

    def server(self) -> ssl.SSLContext:
        """For who comes. Only where it `serves`."""
        made = self._present()
        assert made.server is not None  # the caller has asked
        return made.server

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
        if made.node != self._made.node:
            raise ConfigError(f"{self.source} is of the node {made.node or '(none)'}, and this one is {self.node}")
        self._made = made
        return True

    def look(self) -> None:
        """`refresh`, with what came of it in the log."""
        self._look_at = time.monotonic() + LOOK
        try:
            if self.refresh():
                _log().info("certificate read again", file=self.source)
        except ConfigError as error:
            _log().error("certificate not read again: the old one stays", reason=str(error))

    def _present(self) -> _Made:
        if time.monotonic() >= self._look_at:
            self.look()
        return self._made

    def _files(self) -> list[tuple[int, int, int]]:
        found = []
        for path in (self._certificate, self._key, self._authority, self._mesh_key):
            try:
                info = path.stat() if path is not None else None
            except OSError:
                info = None
            found.append((info.st_mtime_ns, info.st_ino, info.st_size) if info is not None else (0, 0, 0))
        return found

    def _make(self) -> _Made:
        if self._mesh_key is not None:
            return self._make_of_key(self._mesh_key)
        client = _context(ssl.PROTOCOL_TLS_CLIENT)
        if self._authority is not None:
            _trust(client, self._authority)
        else:
            client.load_default_certs()
        mesh = _mesh_of(client) if self._authority is not None else ""
        own, expires, node, server = "", None, "", None
        if self._certificate is not None and self._key is not None:
            _check_mode(self._key)
            own, node, expires = _read_names(self._certificate)
            if mesh and (own != mesh or not node):
                named = f"names a node of the mesh {own}" if own else "names no node"
                raise ConfigError(f"tls: {self._certificate} {named}, and {self._authority} is of the mesh {mesh}")
            server = _context(ssl.PROTOCOL_TLS_SERVER)
            for context in (server, client):
                _load(context, self._certificate, self._key)
            if self._authority is not None:
                _trust(server, self._authority)
        if self._node and node and node != self._node:
            raise ConfigError(f"tls: {self._certificate} is of the node {node}, and this one is {self._node}")
        client.check_hostname = not mesh
        return self._finish(server, client, mesh or own, node, expires, asks=self._authority is not None)

    def _make_of_key(self, path: Path) -> _Made:
        from splnode.net.tls_mint import MESH_SECONDS, Minted, mint  # noqa: PLC0415 - cryptography, for who needs it

        _check_mode(path)
        minted: Minted = mint(_read_secret(path), self._node or "client")
        server, client = _context(ssl.PROTOCOL_TLS_SERVER), _context(ssl.PROTOCOL_TLS_CLIENT)
        for context in (server, client):
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_verify_locations(cadata=minted.authority)
            minted.load_into(context)
        client.check_hostname = False
        assert MESH_SECONDS > RENEWED  # it is made anew long before it ends
        return self._finish(server, client, minted.mesh, self._node, None, asks=True)

    def _finish(
        self, server: Context | None, client: Context, mesh: str, node: str, expires: float | None, *, asks: bool
    ) -> _Made:
        if server is not None:
            if self._mutual == "on" and not asks:
                raise ConfigError('tls: mutual = "on" needs the authority whose certificates are good: tls.authority')
            wanted = {"on": ssl.CERT_REQUIRED, "ask": ssl.CERT_OPTIONAL, "off": ssl.CERT_NONE}
            server.verify_mode = wanted[self._mutual] if asks else ssl.CERT_NONE
            server.mesh = mesh
        client.mesh = mesh
        return _Made(server, client, mesh, node, expires, time.monotonic() + RENEWED)


def _secured(endpoint: Endpoint) -> Endpoint:
    if endpoint.is_local or endpoint.scheme not in SECURED:
        return endpoint
    return endpoint.replace(scheme=SECURED[endpoint.scheme])


def plain_of(endpoint: Endpoint) -> Endpoint:
    """The same without TLS."""
    return endpoint.replace(scheme=PLAIN.get(endpoint.scheme, endpoint.scheme), node=None)


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _beside(certificate: Path | None, stem: str, suffix: str) -> Path | None:
    """A file in the same folder, of that stem or the same, if it is there."""
    if certificate is None:
        return None
    path = certificate.with_name(f"{stem or certificate.stem}{suffix}")
    return path if path.is_file() else None


def _context(protocol: int) -> Context:
    context = Context(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _trust(context: Context, authority: Path) -> None:
    try:
        context.load_verify_locations(cafile=str(authority))
    except (OSError, ValueError) as error:
        raise ConfigError(f"tls: authority {str(authority)!r} cannot be used: {_why(error)}") from None


def _load(context: Context, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(str(certificate), str(key), password=_no_password)
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            raise ConfigError(f"tls: the key {str(key)!r} is not that of {str(certificate)!r}") from None
        raise ConfigError(f"tls: {str(certificate)!r} and {str(key)!r} cannot be used: {_why(error)}") from None
    except OSError as error:
        missing = certificate if not certificate.exists() else key
        raise ConfigError(f"tls: {str(missing)!r} cannot be read: {_why(error)}") from None


def _no_password() -> str:
    raise ConfigError("tls: the key is encrypted, and a node has nobody to ask: openssl pkey -in KEY -out PLAIN")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no PEM in it that fits ({getattr(error, 'reason', None) or error})"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _mesh_of(context: Context) -> str:
    """The mesh whose authority it trusts; "" for any other authority."""
    found = {mesh for mesh, node in map(names_in, context.get_ca_certs()) if mesh and not node}
    if len(found) > 1:
        raise ConfigError(f"tls: the authorities are of several meshes: {', '.join(sorted(found))}")
    return found.pop() if found else ""


def _read_names(certificate: Path) -> tuple[str, str, float]:
    """Mesh, node and end of the first certificate of a file."""
    try:
        decode = typing.cast(Any, ssl)._ssl._test_decode_cert  # there is no other way without a further package
        read = decode(str(certificate))
    except (OSError, ValueError) as error:
        raise ConfigError(f"tls: certificate {str(certificate)!r} cannot be used: {_why(error)}") from None
    return (*names_in(read), ssl.cert_time_to_seconds(read["notAfter"]))


def _check_mode(path: Path) -> None:
    """ConfigError for a secret that others on this host can read or change."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"tls: {str(path)!r} cannot be read: {error.strerror}") from None
    if mode & 0o027:
        raise ConfigError(f"tls: {str(path)!r} is secret, and others can read or change it: chmod 600 {path}")


def _read_secret(path: Path) -> bytes:
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"tls: mesh key {str(path)!r} cannot be read: {error.strerror}") from None
    if len(secret) < 32:
        raise ConfigError(f"tls: mesh key {str(path)!r} has {len(secret)} bytes, not 32 or more: splnode cert key")
    return secret


def _log() -> Any:
    import structlog  # noqa: PLC0415 - a short program says nothing, and does not pay for it

    return structlog.get_logger("splnode.net")


def since(seconds: float) -> str:
    """A moment as people read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def expiry(tls: Sequence[Tls], now: float, days: float = 30) -> list[tuple[str, str]]:
    """File and sentence for each certificate that has ended, or will within so many days."""
    found = []
    for each in tls:
        if each.expires is not None and each.expires - now < days * 86_400:
            left = (each.expires - now) / 86_400
            verb = f"expires in {left:.0f} days, at" if left > 0 else "has expired since"
            found.append((each.source, f"the certificate {verb} {since(each.expires)}: splnode cert node"))
    return found
