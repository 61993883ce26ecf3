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
import hashlib
import ipaddress
import logging
import random
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import structlog
from zeroconf import DNSQuestionType, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from splnode.discovery.heard import MOST, Heard, Record, usable
from splnode.discovery.interfaces import DEFAULT, Interface, scan
from splnode.discovery.netlink import NetworkChanges
from splnode.discovery.resolver import ALL, Board, Instance, Instances
from splnode.discovery.txt import BadTxtError, Txt, decode, encode

TYPE: Final = "_splnode._tcp.local."
PORT: Final = 5353
LABEL: Final = 63
"""Bytes of one label of a name. (RFC 1035, section 2.3.4)"""
BATCH: Final = 0.02
"""Seconds in which what is heard becomes one new set."""
FORGET: Final = 8.0
"""Seconds after a change of the network in which those known before must have been heard again."""
ASKING: Final = 64
"""Instances that are asked for what their announcement did not bring, at one time."""
ASK_MS: Final = 3000
ASK_PAUSES: Final = (0.0, 2.0, 10.0, 30.0, 60.0)
"""Seconds before each time that one of them is asked: packets are lost, most of all when many speak at once."""
BROWSE_AGAIN: Final = (10.0, 20.0, 40.0, 80.0)
BROWSE_EVERY: Final = 60.0
BROWSE_EACH: Final = 1.0
"""Seconds after which everybody is asked anew, for whom nobody heard: soon at first, then every so often, and more
seldom the more records there are, since the question names all that are known (RFC 6762, section 7.1)."""
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
        self._browser: AsyncServiceBrowser | None = None
        self._announced: Instance | None = None
        self._names: dict[str, str] = {}  # protocol -> the name it has on the network, after any conflict
        self._infos: dict[str, AsyncServiceInfo] = {}
        self._changing = asyncio.Lock()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(ASKING)
        self._shared = False
        self._browsed = 0
        self._browse_at = 0.0
        self._watching: asyncio.Task[None] | None = None
        self._posting: asyncio.TimerHandle | None = None
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

        Its endpoints are those it listens on (`0.0.0.0` is every IPv4 address). The first time takes 1.2 s, in which
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
            self._infos.clear()
            if self._zeroconf is not None:
                await self._zeroconf.async_unregister_all_services()

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
                    if self._zeroconf is not None and time.monotonic() >= self._browse_at:
                        await self._browse(self._zeroconf)
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
        self._shared = _port_is_shared()
        try:
            self._zeroconf = _sockets(used)
            await self._zeroconf.zeroconf.async_wait_for_start()
        except Exception as error:  # noqa: BLE001 - zeroconf raises what it likes; without it the other sources serve
            self.problem = f"multicast DNS cannot be used: {error}"
            log.warning(self.problem, interfaces=[each.name for each in used])
            self._zeroconf = None
            return
        self.problem = ""
        self._browsed = 0
        await self._browse(self._zeroconf)

    async def _browse(self, zeroconf: AsyncZeroconf) -> None:
        """Asks who is there. zeroconf asks a few times in the beginning, and then only after those it knows."""
        if self._browser is not None:
            await self._browser.async_cancel()
        question = DNSQuestionType.QM if self._shared else None
        self._browser = AsyncServiceBrowser(zeroconf.zeroconf, TYPE, handlers=[self._event], question_type=question)
        usual = max(BROWSE_EVERY, BROWSE_EACH * len(self._heard)) * random.uniform(0.8, 1.2)
        soon = self._browsed < len(BROWSE_AGAIN)
        self._browse_at = time.monotonic() + (BROWSE_AGAIN[self._browsed] if soon else usual)
        self._browsed += 1

    async def _shut(self) -> None:
        """Closes the sockets without a goodbye."""
        zeroconf, self._zeroconf = self._zeroconf, None
        browser, self._browser = self._browser, None
        for task in self._asking.values():
            task.cancel()
        self._infos.clear()
        if browser is not None:
            await browser.async_cancel()
        if zeroconf is not None:
            registry = zeroconf.zeroconf.registry
            registry.async_remove(registry.async_get_service_infos())
            await zeroconf.async_close()

    def _forget(self) -> None:
        if self._heard.forget_stale():
            self._post_soon()

    # -- being found ------------------------------------------------------------------------------------------------

    async def _say(self, *, anew: bool) -> None:
        """Brings what is registered in line with what is announced. `anew`: the names are known to be ours."""
        if self._zeroconf is None or self._announced is None:
            return
        wanted = self._records(self._announced)
        zeroconf = self._zeroconf
        gone = [service for service in self._infos if service not in wanted]
        for service in gone:
            await zeroconf.async_unregister_service(self._infos.pop(service))
        await asyncio.gather(*(self._register(zeroconf, service, info, anew) for service, info in wanted.items()))
        await asyncio.sleep(0)  # the first packet of each leaves in a turn of the loop

    async def _register(self, zeroconf: AsyncZeroconf, service: str, info: AsyncServiceInfo, anew: bool) -> None:
        before = self._infos.get(service)
        if before is None:
            asked = info.name
            known = anew or service in self._names
            await zeroconf.async_register_service(info, allow_name_change=True, cooperating_responders=known)
            if info.name != asked:
                log.warning("another has this name on the network: two nodes of one id?", name=asked, ours=info.name)
            self._names[service] = info.name
        elif (before.text, before.port, before.addresses) != (info.text, info.port, info.addresses):
            await zeroconf.async_update_service(info)
        self._infos[service] = info

    def _records(self, instance: Instance) -> dict[str, AsyncServiceInfo]:
        port, addresses = reachable(instance, self.interfaces)
        if not addresses:
            listens = ", ".join(map(str, instance.endpoints)) or "nowhere"
            log.warning("nothing is announced: no interface that is used has an address it listens on", listens=listens)
            return {}
        server = host_label(instance.node, instance.epoch) + ".local."
        found = {}
        for service in instance.services or ():
            txt = Txt(instance.node, instance.epoch, service, instance.state, instance.weight)
            try:
                text = encode(txt)
            except BadTxtError as error:
                log.warning("a service is not announced", service=service.name, reason=str(error))
                continue
            name = self._names.get(service.name) or f"{label(service.name, instance.node)}.{TYPE}"
            found[service.name] = AsyncServiceInfo(
                TYPE, name, port, properties=text, server=server, parsed_addresses=list(addresses)
            )
        return found

    # -- finding ----------------------------------------------------------------------------------------------------

    def _event(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """Called by zeroconf, in the loop, for each change of each name."""
        asking = self._asking.get(name)
        if state_change is ServiceStateChange.Removed:
            if asking is not None:
                asking.cancel()
            self._heard.drop(name)
            self._post_soon()
            return
        info = AsyncServiceInfo(service_type, name)
        if info.load_from_cache(zeroconf):
            if asking is not None:
                asking.cancel()
            self._take(name, info)
        elif asking is None and len(self._asking) < MOST:
            task = asyncio.ensure_future(self._ask(zeroconf, name))
            self._asking[name] = task
            task.add_done_callback(lambda done: self._asked(name, done))

    async def _ask(self, zeroconf: Zeroconf, name: str) -> None:
        """Asks for what an announcement did not bring, until it is there or there is no hope."""
        for pause in ASK_PAUSES:
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            async with self._places:
                info = AsyncServiceInfo(TYPE, name)
                if await info.async_request(zeroconf, ASK_MS, DNSQuestionType.QM):
                    self._take(name, info)
                    return
            self._heard.reject(name, "it was announced, but nobody says where it is")

    def _asked(self, name: str, task: asyncio.Task[None]) -> None:
        if self._asking.get(name) is task:
            del self._asking[name]

    def _take(self, name: str, info: AsyncServiceInfo) -> None:
        try:
            txt = decode(info.text or b"")
            addresses = usable(info.parsed_scoped_addresses())
            if not addresses or not info.port:
                raise BadTxtError("it has no address that can be dialled" if info.port else "its port is 0")
        except BadTxtError as error:
            self._heard.reject(name, str(error))
        else:
            self._heard.add(name, Record(info.server or "", info.port, tuple(sorted(addresses)), txt))
        self._post_soon()

    def _post_soon(self) -> None:
        if self._posting is None:
            self._posting = asyncio.get_running_loop().call_later(BATCH, self._post)

    def _post(self) -> None:
        self._posting = None
        self._board.post(self._heard.instances())


def reachable(instance: Instance, interfaces: Sequence[Interface]) -> tuple[int, tuple[str, ...]]:
    """The port and the addresses under which others find an instance that listens on its endpoints; (0, ()) for none.

    One port is announced, that of the first endpoint that others can reach and that speaks what a node dials with.
    """
    used = _used(interfaces)
    here = [address for each in used for address in each.addresses]
    port, found = 0, dict[str, None]()
    for endpoint in instance.endpoints:
        if endpoint.scheme != "tcp" or endpoint.framing not in (None, "netty") or (port and endpoint.port != port):
            continue
        if endpoint.host == "0.0.0.0":
            hosts = [each for each in here if ":" not in each]
        elif endpoint.host == "::":
            hosts = [each for each in here if ":" in each]
        else:
            hosts = [each for each in here if each == ("127.0.0.1" if endpoint.host == "localhost" else endpoint.host)]
        if hosts:
            port = endpoint.port
            found.update(dict.fromkeys(hosts))
    return port, tuple(found)


def label(service: str, node: str) -> str:
    """What a service of a node is called on the network: for people, and the same after a restart.

    A long one is cut, and ends in some letters of its hash.
    """
    return _fit(f"{service.replace('.', '-')}@{node.replace('.', '-')}", f"{service}@{node}")


def host_label(node: str, epoch: int) -> str:
    """The host name of one life of a node.

    Not the machine's own: whoever answers for that (avahi, systemd) would take ours for a conflict. Not the same in
    another life: its addresses must not be mixed with ours.
    """
    word = re.sub(r"[^a-z0-9-]", "-", node.lower())
    return _fit(f"splnode-{word}-{epoch:x}", f"{node} {epoch}")


def _fit(text: str, whole: str) -> str:
    if len(text.encode()) <= LABEL:
        return text
    digest = hashlib.sha256(whole.encode()).hexdigest()[:10]
    return f"{text.encode()[: LABEL - 11].decode('utf-8', 'ignore')}-{digest}"


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
