"""Who is at the other end of a transport, and what helps it."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from typing import Final

from splnode.net.proof import proved, uid_of
from splnode.rpc.call import Peer

_INT: Final = struct.Struct("=i")


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """The address of a TCP peer, or the uid of the process behind a Unix socket, and who that is."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        return Peer("unix", uid_of(sock), proved(transport))
    address = transport.get_extra_info("peername")
    if not address:
        return Peer("unknown")
    host, port = address[:2]
    scheme = "tcp" if transport.get_extra_info("ssl_object") is None else "tls"
    where = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    return Peer(where, None, proved(transport))


def acknowledge(transport: asyncio.BaseTransport) -> None:
    """Acknowledges at once what came, instead of 40 ms later. For a peer in the middle of a message; Linux only.

    One that writes a message in pieces and leaves Nagle's algorithm on (yaqc) sends no second piece until its first
    is acknowledged. The kernel forgets this again, so it is asked each time. (tcp(7), TCP_QUICKACK)
    """
    sock = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_QUICKACK", None)
    if sock is None or option is None or sock.family == socket.AF_UNIX:
        return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, option, 1)


def unread(transport: asyncio.WriteTransport) -> int:
    """Bytes written and not yet with the peer: in our buffer and in the kernel's.

    The kernel's count too: it takes more of ours only once a third of its own buffer, often a megabyte, is free.
    (tcp(7), SIOCOUTQ)
    """
    waiting = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError, ValueError):  # it may be closed by now
            answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(_INT.size))
            waiting += _INT.unpack(answer)[0]
    return waiting
