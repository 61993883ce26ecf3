"""MD5 and SHA-256 of bytes: as keys and fingerprints, never for secrets.

Not through hashlib where it can be helped: that loads OpenSSL, which takes a short program as long as its call.
"""

try:
    from _md5 import md5 as _md5  # type: ignore[import-not-found]  # a part of hashlib, which the stubs do not know
except ImportError:
    from hashlib import md5 as _md5


def md5(data: bytes) -> bytes:
    """The 16 bytes of its MD5."""
    digest: bytes = _md5(data, usedforsecurity=False).digest()
    return digest


def sha256(data: bytes) -> bytes:
    """The 32 bytes of its SHA-256."""
    import hashlib  # noqa: PLC0415 - see above; a short program needs none

    return hashlib.sha256(data, usedforsecurity=False).digest()
