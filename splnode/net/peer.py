"""Who is at the other end of a transport."""

import asyncio
import socket
import struct
from typing import Final

from splnode.rpc.call import Peer

_UCRED: Final = struct.Struct("=iII")  # pid, uid, gid: unix(7), SO_PEERCRED


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """The address of a TCP peer, or the uid of the process behind a Unix socket."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        try:
            _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        except OSError:
            return Peer("unix")
        return Peer("unix", uid)
    address = transport.get_extra_info("peername")
    if not address:
        return Peer("unknown")
    host, port = address[:2]
    return Peer(f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}")
