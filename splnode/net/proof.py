"""What a connection proves of who is at its other end."""

import asyncio
import os
import socket
import struct
from typing import Final

from splnode.identity import ANYONE, INSECURE, LOOPBACK, MESH, NOBODY, OWN, UNIX, Identity
from splnode.net.tls_names import certificate_name

_UCRED: Final = struct.Struct("=iII")  # pid, uid, gid: unix(7), SO_PEERCRED
_LOOPBACK: Final = Identity(LOOPBACK, (LOOPBACK,), "tcp")
_INSECURE: Final = Identity(ANYONE, (INSECURE,), "tcp")
_STRANGER: Final = Identity(ANYONE, (), "tls")


def proved(transport: asyncio.BaseTransport) -> Identity:
    """Who that is, from what the kernel and the connection itself say; nothing that the peer merely claims counts."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        return of_uid(uid_of(sock))
    address = transport.get_extra_info("peername")
    if not address:
        return NOBODY
    ssl_object = transport.get_extra_info("ssl_object")
    if ssl_object is not None:
        name = certificate_name(ssl_object)
        if name is not None:
            return Identity(name, (MESH,), "certificate")
    if is_loopback(address[0]):
        return _LOOPBACK
    return _INSECURE if ssl_object is None else _STRANGER


def uid_of(sock: socket.socket) -> int | None:
    """The uid of the process that made the other end of a Unix socket; None where the kernel does not tell."""
    try:
        _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    except OSError:
        return None
    return int(uid)


def of_uid(uid: int | None) -> Identity:
    """Who a process of this uid is to this one."""
    if uid is None:
        return NOBODY
    return Identity(f"uid:{uid}", (OWN if uid in (0, os.getuid()) else UNIX,), "unix")


def is_loopback(host: str) -> bool:
    """Whether a peer's address is of this host alone. (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3)"""
    return host == "::1" or host.removeprefix("::ffff:").startswith("127.")
