"""Authorities and certificates, made with `cryptography` (`pip install splnode[tls]`).

A certificate has an ECDSA key on P-256, which every TLS library knows; one made of a mesh key Ed25519.
"""

import base64
import contextlib
import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from splnode.errors import ConfigError
from splnode.net.tls_names import node_name

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    raise ConfigError(
        "a mesh key, and `splnode cert`, need the package cryptography: pip install cryptography"
    ) from None

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
DAY: Final = datetime.timedelta(days=1)
MESH_SECONDS: Final = 30 * 86_400
"""For so long a certificate is valid that was made of a mesh key."""
FIRST: Final = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
LAST: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""The authority of a mesh key is one and the same on all hosts: it has no beginning and no end. (RFC 5280, 4.1.2.5)"""


class Authority(NamedTuple):
    """Who signs the certificates of a mesh."""

    mesh: str
    certificate: x509.Certificate
    key: Key


class Minted(NamedTuple):
    """What a mesh key gives: PEM texts. The key among them is of this moment, and never on a disk."""

    mesh: str
    authority: str
    certificate: bytes
    key: bytes

    def load_into(self, context: ssl.SSLContext) -> None:
        """Makes it the context's own."""
        with _file(self.certificate + self.key) as path:  # ssl reads files only
            context.load_cert_chain(path)


def new_authority(mesh: str, days: int = 3650) -> Authority:
    """An authority with a new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    return Authority(mesh, _authority(mesh, key, x509.random_serial_number(), now - DAY, now + days * DAY), key)


def authority_of(secret: bytes) -> Authority:
    """The authority that follows from a mesh key: the same each time, byte for byte."""
    mesh = f"key-{_derive(secret, b'name', 8).hex()}"
    key = ed25519.Ed25519PrivateKey.from_private_bytes(_derive(secret, b"authority", 32))
    serial = int.from_bytes(_derive(secret, b"serial", 16)) | 1
    return Authority(mesh, _authority(mesh, key, serial, FIRST, LAST), key)


def mint(secret: bytes, node: str) -> Minted:
    """A certificate for `node` of the mesh of that key, valid from long ago to MESH_SECONDS from now."""
    authority = authority_of(secret)
    key = ed25519.Ed25519PrivateKey.generate()
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=MESH_SECONDS)
    certificate = _certificate(authority, node, key, (), FIRST, until)
    return Minted(authority.mesh, pem(authority.certificate).decode(), pem(certificate), key_pem(key))


def issue(authority: Authority, node: str, hosts: Iterable[str] = (), days: int = 365) -> tuple[x509.Certificate, Key]:
    """A certificate for a node, which it may show as server and as client; `hosts` are for those who look at names."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    until = min(now + days * DAY, authority.certificate.not_valid_after_utc)
    return _certificate(authority, node, key, hosts, now - DAY, until), key


def load_authority(certificate: bytes, key: bytes) -> Authority:
    """An authority out of its two files. ConfigError if it is none of a mesh, or the key is another's."""
    try:
        found = x509.load_pem_x509_certificate(certificate)
        loaded = serialization.load_pem_private_key(key, None)
        uris = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.UniformResourceIdentifier
        )
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise ConfigError(f"no authority of a mesh: {error}") from None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise ConfigError("no authority of a mesh: its key is of another kind")
    if loaded.public_key() != found.public_key():
        raise ConfigError("the key is not that of the authority's certificate")
    mesh = uris[0].removeprefix("spiffe://") if len(uris) == 1 else ""
    if not mesh or "/" in mesh:
        raise ConfigError("no authority of a mesh: its certificate has no name spiffe://MESH")
    return Authority(mesh, found, loaded)


def new_mesh_key() -> bytes:
    """A text of 256 random bits."""
    return base64.b64encode(os.urandom(32)) + b"\n"


def pem(certificate: x509.Certificate) -> bytes:
    """As text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: Key) -> bytes:
    """As text, not encrypted. (PKCS #8)"""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _derive(secret: bytes, what: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, None, b"splnode mesh key 1 " + what).derive(secret)


def _authority(mesh: str, key: Key, serial: int, begin: datetime.datetime, end: datetime.datetime) -> x509.Certificate:
    name = _subject(f"splnode mesh {mesh}")
    builder = _builder(name, name, key, serial, begin, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(_alternative([x509.UniformResourceIdentifier(node_name(mesh, ""))]), critical=False)
    return _signed(builder, key)


def _certificate(
    authority: Authority,
    node: str,
    key: Key,
    hosts: Iterable[str],
    begin: datetime.datetime,
    end: datetime.datetime,
) -> x509.Certificate:
    builder = _builder(_subject(node), authority.certificate.subject, key, x509.random_serial_number(), begin, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = builder.add_extension(both, critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    names = [x509.UniformResourceIdentifier(node_name(authority.mesh, node)), *map(_host, hosts)]
    return _signed(builder.add_extension(_alternative(names), critical=False), authority.key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    serial: int,
    begin: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), serial, begin, end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _signed(builder: x509.CertificateBuilder, key: Key) -> x509.Certificate:
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])  # RFC 5280, ub-common-name


def _alternative(names: Iterable[x509.GeneralName]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(list(names))


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return x509.DNSName(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no host name: one of another alphabet is written as xn--...") from None


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A path to read it from, for a moment: in memory where that is possible, else for this user alone."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("splnode", os.MFD_CLOEXEC), "wb") as memory:
            memory.write(content)
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
        return
    with tempfile.NamedTemporaryFile() as file:  # mode 0600
        file.write(content)
        file.flush()
        yield file.name
