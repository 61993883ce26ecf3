"""The files that TLS is made of: what is in them, and whether they are fit for it. ConfigError names file and fix."""

import ssl
import time
import typing
from pathlib import Path
from typing import Any, NamedTuple

from splnode.errors import ConfigError
from splnode.net.tls_names import names_in

Stamp = tuple[int, int, int]


class Certificate(NamedTuple):
    """The first certificate of a file.

    `mesh` and `node` are "" where it names none; `hosts` are the DNS names of its server, small, and its addresses;
    `begins` and `expires` are seconds since 1970.
    """

    file: str
    mesh: str
    node: str
    hosts: tuple[str, ...]
    begins: float
    expires: float

    def is_for(self, host: str) -> bool:
        """Whether a client that asks for this name, in small letters, will find it there. (RFC 6125, 6.4.3)"""
        _, _, parent = host.partition(".")
        return host in self.hosts or (bool(parent) and f"*.{parent}" in self.hosts)


class Pair(NamedTuple):
    """A certificate's file, and that of its key, which may be the same."""

    certificate: Path
    key: Path

    def read(self) -> Certificate:
        """What is in it."""
        check_mode(self.key)
        return read_certificate(self.certificate)

    def load(self, context: ssl.SSLContext) -> None:
        """Has the context show it."""
        certificate, key = self
        try:
            context.load_cert_chain(str(certificate), str(key), password=_no_password)
        except ssl.SSLError as error:
            if "MISMATCH" in (error.reason or ""):
                raise ConfigError(f"tls: the key {str(key)!r} is not that of {str(certificate)!r}") from None
            raise ConfigError(f"tls: {str(certificate)!r} and {str(key)!r} cannot be used: {_why(error)}") from None
        except OSError as error:
            missing = certificate if not certificate.exists() else key
            raise ConfigError(f"tls: {str(missing)!r} cannot be read: {_why(error)}") from None


def pair(certificate: str, key: str | None = None) -> Pair:
    """A certificate with that key; without one the file beside it with `.key`, else it is in the same file."""
    path = Path(certificate).expanduser()
    return Pair(path, Path(key).expanduser() if key else beside(path, path.stem, ".key") or path)


def beside(certificate: Path, stem: str, suffix: str) -> Path | None:
    """A file in the same folder, if it is there."""
    path = certificate.with_name(f"{stem}{suffix}")
    return path if path.is_file() else None


def stamp(path: Path) -> Stamp:
    """What is different once a file was written or another put in its place."""
    try:
        info = path.stat()
    except OSError:
        return 0, 0, 0
    return info.st_mtime_ns, info.st_ino, info.st_size


def trust(context: ssl.SSLContext, authority: Path) -> None:
    """Has the context believe the certificates of an authority."""
    try:
        context.load_verify_locations(cafile=str(authority))
    except (OSError, ValueError) as error:
        raise ConfigError(f"tls: authority {str(authority)!r} cannot be used: {_why(error)}") from None


def read_certificate(path: Path) -> Certificate:
    """The first one of a file."""
    try:
        decode = typing.cast(Any, ssl)._ssl._test_decode_cert  # there is no other way without a further package
        read = decode(str(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"tls: certificate {str(path)!r} cannot be used: {_why(error)}") from None
    named = read.get("subjectAltName", ())
    hosts = tuple(value.lower() for kind, value in named if kind in ("DNS", "IP Address"))
    dates = (float(ssl.cert_time_to_seconds(read[key])) for key in ("notBefore", "notAfter"))
    return Certificate(str(path), *names_in(read), hosts, *dates)


def check_mode(path: Path) -> None:
    """ConfigError for a secret that others on this host can read or change."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"tls: {str(path)!r} cannot be read: {error.strerror}") from None
    if mode & 0o027:
        raise ConfigError(f"tls: {str(path)!r} is secret, and others can read or change it: chmod 600 {path}")


def read_secret(path: Path) -> bytes:
    """A mesh key."""
    check_mode(path)
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"tls: mesh key {str(path)!r} cannot be read: {error.strerror}") from None
    if len(secret) < 32:
        raise ConfigError(f"tls: mesh key {str(path)!r} has {len(secret)} bytes, not 32 or more: splnode cert key")
    return secret


def since(seconds: float) -> str:
    """A moment as people read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _no_password() -> str:
    raise ConfigError("tls: the key is encrypted, and a node has nobody to ask: openssl pkey -in KEY -out PLAIN")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no PEM in it that fits ({getattr(error, 'reason', None) or error})"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
