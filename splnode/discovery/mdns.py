"""Nodes that find each other without anybody's help: multicast DNS and DNS service discovery (RFC 6762, RFC 6763).

Each protocol of a node is one instance of `_splnode._tcp.local.`; `splnode.discovery.txt` has its TXT record. What is
heard is a hint and nothing more.

It lives through changes of the network. When an interface, an address or a carrier changes, all sockets are opened
anew and everything is said and asked again: a socket that once joined a multicast group is no longer in it when its
interface was taken away and came back, and nothing tells it. What was known before stays until it had time to answer.

A goodbye is believed at once. The lifetime of a record is no sign of life: that is for whoever calls.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import structlog
from zeroconf.asyncio import AsyncZeroconf

from splnode.discovery.heard import Heard, Record
from splnode.discovery.interfaces import DEFAULT, Interface, scan
from splnode.discovery.mdns_announcing import Announcing
from splnode.discovery.mdns_listening import Listening
from splnode.discovery.netlink import NetworkChanges
from splnode.discovery.resolver import ALL, Board, Instance, Instances

PORT: Final = 5353
BATCH: Final = 0.02
"""Seconds between two sets at least: of what many say at once."""
FORGET: Final = 8.0
"""Seconds after a change of the network in which those known before must have been heard again."""
ROOM: Final = 1024 * 1024
"""Bytes of packets that wait to be read, on each socket: a thousand nodes that answer one question."""
RETRY: Final = 5.0
"""Seconds after which sockets that could not be opened are tried again."""

log = structlog.get_logger("splnode.discovery")


class Mdns:
    """A Resolver and an Announcer. `start` it and `close` it.

    `interfaces` are names, patterns and `default`; see splnode.discovery.interfaces. `problem` says why nothing is
    heard or said, `rejected` which announcements were not believed, by name, and why.
    """

    name = "mdns"

    def __init__(
        self,
        interfaces: Sequence[str] = (DEFAULT,),
        look: Callable[[Sequence[str]], tuple[Interface, ...]] = scan,
    ) -> None:
        self.problem = ""
        self.interfaces: tuple[Interface, ...] = ()
        self._wanted = tuple(interfaces)
        self._look = look
        self._heard = Heard(self.name)
        self._board = Board()
        self._zeroconf: AsyncZeroconf | None = None
        self._listening: Listening | None = None
        self._announced: Instance | None = None
        self._announcing = Announcing(lambda: len(self._heard))
        self._renaming: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._posting: asyncio.TimerHandle | None = None
        self._posted = 0.0
        self._forgetting: asyncio.TimerHandle | None = None

    @property
    def rejected(self) -> dict[str, str]:
        """Names of announcements that were not believed, each with the reason; the newest hundred."""
        return dict(self._heard.rejected)

    async def start(self) -> None:
        """Opens the sockets and begins to listen. Where that does not work `problem` says why, and it tries again."""
        _tame_logger()
        async with self._changing:
            await self._open(await asyncio.to_thread(self._look, self._wanted))
        self._watching = asyncio.ensure_future(self._watch_network())

    async def close(self) -> None:
        """Says goodbye, and ends every watch. May be repeated."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None
        if self._renaming is not None:
            self._renaming.cancel()
        await self.withdraw()
        async with self._changing:
            await self._shut()
        for timer in (self._posting, self._forgetting):
            if timer is not None:
                timer.cancel()
        self._board.close()

    def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        """Those that were heard and have not said goodbye. This node is not among them."""
        return self._board.watch(service)

    async def announce(self, instance: Instance) -> None:
        """Announces each service of the instance at the addresses of the interfaces that are used.

        Its endpoints are those it listens on (`0.0.0.0` is every IPv4 address). The first time takes a second, in which
        the names are looked for on the network (RFC 6762, section 8.1); changes are said at once.
        """
        async with self._changing:
            self._announced = instance
            self._heard.own = (instance.node, instance.epoch)
            await self._say(anew=False)

    async def withdraw(self) -> None:
        """Says goodbye for all services."""
        async with self._changing:
            self._announced = None
            if self._zeroconf is not None:
                await self._announcing.end(self._zeroconf.zeroconf)

    # -- the network ------------------------------------------------------------------------------------------------

    async def _watch_network(self) -> None:
        async with NetworkChanges() as changes:
            while True:
                if self.problem and self._zeroconf is None:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(RETRY):
                            await changes.next()
                else:
                    await changes.next()
                found = await asyncio.to_thread(self._look, self._wanted)
                async with self._changing:
                    # An interface that was away and is back looks as it did, but what was said meanwhile was not heard.
                    flapped = not changes.interrupted().isdisjoint(each.index for each in _used(found))
                    if flapped or _used(found) != _used(self.interfaces) or (not self._zeroconf and _used(found)):
                        await self._reopen(found)
                    self.interfaces = found

    async def _reopen(self, found: tuple[Interface, ...]) -> None:
        before, now = ([each.name for each in _used(some)] for some in (self.interfaces, found))
        log.info("the network has changed: listening anew", before=before, now=now)
        await self._shut()
        self._heard.age()
        await self._open(found)
        if self._announced is not None:
            await self._say(anew=True)
        loop = asyncio.get_running_loop()
        if self._forgetting is not None:
            self._forgetting.cancel()
        if self._zeroconf is not None:  # without a network nobody can answer
            self._forgetting = loop.call_later(FORGET, self._forget)

    async def _open(self, found: tuple[Interface, ...]) -> None:
        self.interfaces = found
        used = _used(found)
        if not used:
            self.problem = "no interface can be used: " + ("; ".join(f"{i.name}: {i.reason}" for i in found) or "none")
            return
        # Where several share the port a unicast answer reaches only one of them: then everybody is asked to tell all.
        shared = _port_is_shared()
        try:
            self._zeroconf = _sockets(used)
            await self._zeroconf.zeroconf.async_wait_for_start()
            _widen(self._zeroconf)
        except Exception as error:  # noqa: BLE001 - zeroconf raises what it likes; without it the other sources serve
            self.problem = f"multicast DNS cannot be used: {error}"
            log.warning(self.problem, interfaces=[each.name for each in used])
            self._zeroconf = None
            return
        self.problem = ""
        self._listening = Listening(
            self._zeroconf.zeroconf, self._heard, self._post_soon, self._taken, unicast=not shared
        )
        self._listening.start()

    async def _shut(self) -> None:
        """Closes the sockets without a goodbye."""
        zeroconf, self._zeroconf = self._zeroconf, None
        listening, self._listening = self._listening, None
        self._announcing.forget()
        if listening is not None:
            listening.stop()
        if zeroconf is not None:
            registry = zeroconf.zeroconf.registry
            registry.async_remove(registry.async_get_service_infos())
            await zeroconf.async_close()

    def _forget(self) -> None:
        if self._heard.forget_stale():
            self._post_soon()

    # -- being found ------------------------------------------------------------------------------------------------

    async def _say(self, *, anew: bool) -> None:
        """Brings what is announced in line with what there is. `anew`: the names are known to be ours."""
        if self._zeroconf is not None and self._announced is not None:
            await self._announcing.say(self._zeroconf.zeroconf, self._announced, self.interfaces, anew=anew)

    async def _rename(self) -> None:
        """One of our names was given up; another is announced instead."""
        async with self._changing:
            await self._say(anew=False)

    def _taken(self, name: str, record: Record) -> None:
        """Somebody announces that name."""
        if self._zeroconf is not None and self._announcing.clashes(
            self._zeroconf.zeroconf, name, record.server, record.txt.epoch
        ):
            self._renaming = asyncio.ensure_future(self._rename())

    # -- finding ----------------------------------------------------------------------------------------------------

    def _post_soon(self) -> None:
        if self._posting is None:
            loop = asyncio.get_running_loop()
            self._posting = loop.call_at(max(self._posted + BATCH, loop.time()), self._post)

    def _post(self) -> None:
        self._posting, self._posted = None, asyncio.get_running_loop().time()
        self._board.post(self._heard.instances())


def _used(interfaces: Sequence[Interface]) -> tuple[Interface, ...]:
    return tuple(each for each in interfaces if each.used)


def _sockets(used: Sequence[Interface]) -> AsyncZeroconf:
    """Sockets on one address of each family of each interface; IPv4 alone where IPv6 is switched off."""
    ipv4 = [each.ipv4[0] for each in used if each.ipv4]
    ipv6 = [each.ipv6[-1] for each in used if each.ipv6 and not ipaddress.ip_address(each.ipv6[-1]).is_loopback]
    try:
        return AsyncZeroconf(interfaces=[*ipv4, *ipv6])
    except OSError:
        if not ipv4 or not ipv6:
            raise
        return AsyncZeroconf(interfaces=list(ipv4))


def _widen(zeroconf: AsyncZeroconf) -> None:
    """Makes room for what many nodes answer at once. The kernel may give less. (socket(7), SO_RCVBUF)"""
    for reader in zeroconf.zeroconf.engine.readers:
        reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)


def _port_is_shared() -> bool:
    """Whether somebody on this host has the port already: another node, avahi, systemd."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", PORT))
        except OSError:
            return True
    return False


def _tame_logger() -> None:
    """zeroconf logs through logging; what it says goes where our log goes."""
    logger = logging.getLogger("zeroconf")
    if not logger.handlers:
        logger.addHandler(_Forward())
        logger.propagate = False


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.debug("zeroconf", says=record.getMessage()[:500], level=record.levelname)
