"""Hearing of it when the network of this host changes: a cable, an address, a route.

Linux tells by netlink, to everyone (rtnetlink(7)). Elsewhere, and in case a message was lost, time passes instead.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Final, Self

GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE."""
NEWLINK, DELLINK = 16, 17
RUNNING: Final = 0x40
HEADER: Final = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port. (netlink(7))"""
LINK: Final = struct.Struct("=BxHiII")
"""ifinfomsg: family, type, index, flags, change. (rtnetlink(7))"""
WITHOUT: Final = 3.0
"""Seconds between two looks where nobody tells."""
ANYWAY: Final = 20.0
"""Seconds between two looks where somebody does."""
SETTLING: Final = 0.25
"""Seconds after a change in which others belong to it: an interface comes, then its address, then its route."""


class NetworkChanges:
    """`async with` it, and await `next` again and again."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self._heard = asyncio.Event()
        self._interrupted: set[int] = set()

    def interrupted(self) -> set[int]:
        """The interfaces, by index, that were without a carrier or gone since the last time this was asked.

        They may be as they were by now; what was sent meanwhile is lost.
        """
        interrupted, self._interrupted = self._interrupted, set()
        return interrupted

    async def __aenter__(self) -> Self:
        with contextlib.suppress(OSError, AttributeError):  # another system, or a container that forbids it
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            try:
                sock.bind((0, GROUPS))
            except BaseException:
                sock.close()
                raise
            self._sock = sock
            asyncio.get_running_loop().add_reader(sock, self._readable)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None

    async def next(self) -> None:
        """Returns when something has changed and is quiet again, or after a while in which nothing was heard."""
        try:
            async with asyncio.timeout(WITHOUT if self._sock is None else ANYWAY):
                await self._heard.wait()
        except TimeoutError:
            return
        for _ in range(8):  # a network that never settles is looked at all the same
            self._heard.clear()
            try:
                async with asyncio.timeout(SETTLING):
                    await self._heard.wait()
            except TimeoutError:
                return

    def _readable(self) -> None:
        self._heard.set()
        if self._sock is None:
            return
        try:
            while data := self._sock.recv(65536):
                self._interrupted.update(interruptions(data))
        except BlockingIOError:
            pass
        except OSError:  # ENOBUFS: more has changed than fits; it was heard
            pass


def interruptions(data: bytes) -> set[int]:
    """The indexes of interfaces of which netlink messages say that they are not running, or gone."""
    found, place = set(), 0
    while place + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, place)
        if length < HEADER.size:
            break
        if kind in (NEWLINK, DELLINK) and place + HEADER.size + LINK.size <= len(data):
            _, _, index, flags, _ = LINK.unpack_from(data, place + HEADER.size)
            if kind == DELLINK or not flags & RUNNING:
                found.add(index)
        place += (length + 3) & ~3
    return found
