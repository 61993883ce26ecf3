"""Telling systemd how far we are: the datagrams of sd_notify(3). Nothing happens where nobody listens."""

import os
import socket


def notify(state: str) -> None:
    """Sends `READY=1`, `STOPPING=1`, `STATUS=...` to the service manager that set NOTIFY_SOCKET, if one did."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(1)
            sock.sendto(state.encode(), address)
    except OSError:
        return  # a manager that does not listen any more is no reason to fail
