"""Being found by multicast DNS: a node's names claimed, announced, answered for, and taken back with a goodbye.

All names of a node are claimed together and announced together, in a packet or two however many services there are.
(zeroconf by itself claims each name with a question that every responder of the network answers: among two hundred
nodes that alone is a hundred thousand packets.)

1. Claiming: three questions for the names, 250 ms apart, which only who has one of them answers; then another name is
   tried. (RFC 6762, section 8.1)
2. Announcing: eight times, each pause twice as long as the one before. Packets are lost, most of all when many nodes
   start at once, and nobody asks for what he does not know of. (Section 8.3)
3. Two who started in the same moment may both have a name: who started later gives it up. (Section 9)
"""

import asyncio
import hashlib
import random
import re
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import structlog
from zeroconf import (  # type: ignore[attr-defined]  # those that begin with DNS are in no __all__
    DNSOutgoing,
    DNSQuestion,
    DNSService,
    ServiceInfo,
    Zeroconf,
    current_time_millis,
)

from splnode.discovery.interfaces import Interface
from splnode.discovery.resolver import Instance
from splnode.discovery.txt import BadTxtError, Txt, encode

TYPE: Final = "_splnode._tcp.local."
LABEL: Final = 63
"""Bytes of one label of a name. (RFC 1035, section 2.3.4)"""
PROBES: Final = 3
PROBE_PAUSE: Final = 0.25
"""Questions for a name before it is ours, and seconds after each of them; a part of that before the first."""
RENAMES: Final = 10
"""Names that are tried; then one is taken that nobody was asked for: a host that has every name keeps nobody off."""
PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Seconds between one announcement and the next. (RFC 6762, section 8.3: eight at most, at least doubled)"""
CROWD: Final = 100
"""Names on the network among which these pauses are twice as long, and so on: so many more have something to say."""
GOODBYES: Final = 3
GOODBYE_PAUSE: Final = 0.125
"""Goodbyes, and seconds between them."""
NAMES: Final = 8
"""Names that one question asks for: a packet holds as many."""
CLASHES: Final = 10.0
"""Seconds after somebody else had a name of ours in which we do not mind it again: the network may be full of liars."""

# RFC 1035, section 3.2; RFC 6762, sections 5.4 and 18.
QUERY, RESPONSE = 0x0000, 0x8400
PTR, SRV, ANY = 12, 33, 255
IN, UNICAST = 1, 0x8000

log = structlog.get_logger("splnode.discovery")


class Announcing:
    """What this node says of itself. Its names stay, through changes of the network too.

    `say` it, on each new Zeroconf anew; `forget` when that was closed; `end` with a goodbye: one of these at a time.
    `others` gives the number of names that others have on the network.
    """

    def __init__(self, others: Callable[[], int] = lambda: 0) -> None:
        self._others = others
        self._names: dict[str, str] = {}  # by service: the name it has on the network, after any conflict
        self._infos: dict[str, ServiceInfo] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._repeating: asyncio.Task[None] | None = None
        self._clashed = -CLASHES

    @property
    def names(self) -> Mapping[str, str]:
        """The name on the network of each service."""
        return self._names

    async def say(
        self, zeroconf: Zeroconf, instance: Instance, interfaces: Sequence[Interface], *, anew: bool = False
    ) -> None:
        """Announces the services of the instance at the addresses of the interfaces that are used, and nothing else.

        Takes a second for names that are new; `anew` says that those that there are are still ours.
        """
        infos = records(instance, interfaces, self._names)
        gone = [self._infos.pop(what) for what in list(self._infos) if what not in infos]
        if gone:
            zeroconf.registry.async_remove(gone)
            self._run(_part(zeroconf, gone))
        changed = {what: infos[what] for what, info in self._infos.items() if _differ(info, infos[what])}
        for info in changed.values():
            zeroconf.registry.async_update(info)
        self._infos.update(changed)
        if changed:
            self._announce(zeroconf)
        fresh = {what: info for what, info in infos.items() if what not in self._infos}
        unproved = [info for what, info in fresh.items() if not (anew and what in self._names)]
        if unproved:
            await _claim(zeroconf, unproved)
        for what, info in fresh.items():
            self._names[what] = info.name
            self._infos[what] = info
            zeroconf.registry.async_add(info)
        if fresh:
            self._announce(zeroconf)
        await asyncio.sleep(0)  # the packets leave in a turn of the loop

    def clashes(self, zeroconf: Zeroconf, name: str, server: str, epoch: int) -> bool:
        """Somebody announces `name`, for the host `server`. Whether it was ours and is so no more: then `say` is due.

        Of two that have one name the older keeps it, and says so.
        """
        what = next((what for what, info in self._infos.items() if info.name.lower() == name.lower()), None)
        info, now = self._infos.get(what or ""), time.monotonic()
        if what is None or info is None or _lower(server) == _lower(info.server) or now - self._clashed < CLASHES:
            return False
        self._clashed = now
        log.warning("another has this name on the network: two nodes of one id?", name=name)
        if (_epoch(info), _lower(info.server)) < (epoch, _lower(server)):
            self._announce(zeroconf)
            return False
        zeroconf.registry.async_remove([self._infos.pop(what)])  # without a goodbye: that would be the other's, too
        self._names.pop(what)
        return True

    def forget(self) -> None:
        """The sockets are gone. The names are still ours."""
        self._infos.clear()
        for task in self._tasks:
            task.cancel()

    async def end(self, zeroconf: Zeroconf) -> None:
        """Says goodbye for everything."""
        infos = list(self._infos.values())
        self.forget()
        if infos:
            zeroconf.registry.async_remove(infos)
            await _part(zeroconf, infos)

    def _announce(self, zeroconf: Zeroconf) -> None:
        if self._repeating is not None:
            self._repeating.cancel()
        _send(zeroconf, self._infos.values())
        self._repeating = self._run(self._repeat(zeroconf))

    async def _repeat(self, zeroconf: Zeroconf) -> None:
        for pause in PAUSES:
            await asyncio.sleep(pause * (1 + self._others() / CROWD) * random.uniform(1.0, 1.2))
            _send(zeroconf, self._infos.values())

    def _run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _part(zeroconf: Zeroconf, infos: Collection[ServiceInfo]) -> None:
    """Says goodbye for these, unless they are back meanwhile."""
    for number in range(GOODBYES):
        if number:
            await asyncio.sleep(GOODBYE_PAUSE)
        _send(zeroconf, [i for i in infos if zeroconf.registry.async_get_info_name(i.name) is None], goodbye=True)


async def _claim(zeroconf: Zeroconf, infos: Sequence[ServiceInfo]) -> None:
    """Returns when nobody else has their names; until then those that somebody has are changed."""
    tried = dict.fromkeys((info.name for info in infos), 1)
    first = {info.name: info.name for info in infos}
    await asyncio.sleep(random.uniform(0, PROBE_PAUSE))
    for _ in range(RENAMES):
        for _ in range(PROBES):
            for start in range(0, len(infos), NAMES):
                zeroconf.async_send(_question(infos[start : start + NAMES]))
            await asyncio.sleep(PROBE_PAUSE)
            taken = [info for info in infos if _is_taken(zeroconf, info)]
            if taken:
                break
        else:
            return
        for info in taken:
            asked, original = info.name, first[info.name]
            tried[original] += 1
            info.name = numbered(original, tried[original])
            first[info.name] = original
            log.warning("another has this name on the network: two nodes of one id?", name=asked, ours=info.name)
    for info in infos:
        if _is_taken(zeroconf, info):
            info.name = numbered(first[info.name], random.randrange(1000, 1_000_000))


def _question(infos: Iterable[ServiceInfo]) -> DNSOutgoing:
    """Whoever has one of the names is to answer at once, to us alone. (RFC 6762, section 8.1)"""
    out = DNSOutgoing(QUERY)
    for info in infos:
        out.add_question(DNSQuestion(info.name, ANY, IN | UNICAST))
        out.authorities.append(info.dns_service())  # type: ignore[arg-type]  # any record may stand there
    return out


def _is_taken(zeroconf: Zeroconf, info: ServiceInfo) -> bool:
    """Whether somebody has said that he has that name, at another place."""
    now, ours = current_time_millis(), (_lower(info.server), info.port)
    found = zeroconf.cache.get_all_by_details(info.name, SRV, IN)
    return any(
        (record.server.lower(), record.port) != ours
        for record in found
        if isinstance(record, DNSService) and not record.is_expired(now)
    )


def _lower(server: str | None) -> str:
    return (server or "").lower()


def _send(zeroconf: Zeroconf, infos: Collection[ServiceInfo], *, goodbye: bool = False) -> None:
    """All records of all of them. Addresses are taken back with the last name that is there."""
    if not infos:
        return
    out = DNSOutgoing(RESPONSE)
    ttl = 0 if goodbye else None
    staying = {_lower(info.server) for info in zeroconf.registry.async_get_service_infos()} if goodbye else set()
    servers: set[str] = set()
    for info in infos:
        for record in (info.dns_pointer(ttl), info.dns_service(ttl), info.dns_text(ttl)):
            out.add_answer_at_time(record, 0)
        server = _lower(info.server)
        if server not in servers | staying:
            servers.add(server)
            for address in info.dns_addresses(ttl):
                out.add_answer_at_time(address, 0)
    zeroconf.async_send(out)


def _differ(one: ServiceInfo, other: ServiceInfo) -> bool:
    return (one.text, one.port, one.addresses) != (other.text, other.port, other.addresses)


def _epoch(info: ServiceInfo) -> int:
    text = (info.properties or {}).get(b"ep") or b"0"
    return int(text)


def records(
    instance: Instance, interfaces: Sequence[Interface], names: Mapping[str, str] = MappingProxyType({})
) -> dict[str, ServiceInfo]:
    """What is announced of each service of an instance, under the name that it has, or that it is to have."""
    port, addresses = reachable(instance, interfaces)
    tls = any(each.is_secure and each.port == port for each in instance.endpoints)
    if not addresses:
        listens = ", ".join(map(str, instance.endpoints)) or "nowhere"
        log.warning("nothing is announced: no interface that is used has an address it listens on", listens=listens)
        return {}
    server = host_label(instance.node, instance.epoch) + ".local."
    found = {}
    for service in instance.services or ():
        txt = Txt(instance.node, instance.epoch, service, instance.state, instance.weight, tls)
        try:
            text = encode(txt)
        except BadTxtError as error:
            log.warning("a service is not announced", service=service.name, reason=str(error))
            continue
        name = names.get(service.name) or f"{label(service.name, instance.node)}.{TYPE}"
        found[service.name] = ServiceInfo(
            TYPE, name, port, properties=text, server=server, parsed_addresses=list(addresses)
        )
    return found


def reachable(instance: Instance, interfaces: Sequence[Interface]) -> tuple[int, tuple[str, ...]]:
    """The port and the addresses under which others find an instance that listens on its endpoints; (0, ()) for none.

    One port is announced, that of the first endpoint that others can reach and that speaks what a node dials with.
    """
    used = [each for each in interfaces if each.used]
    here = [address for each in used for address in each.addresses]
    port, found = 0, dict[str, None]()
    for endpoint in instance.endpoints:
        if endpoint.scheme not in ("tcp", "tls") or endpoint.framing not in (None, "netty"):
            continue
        if port and endpoint.port != port:
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
    return fit(f"{service.replace('.', '-')}@{node.replace('.', '-')}", f"{service}@{node}")


def host_label(node: str, epoch: int) -> str:
    """The host name of one life of a node.

    Not the machine's own: whoever answers for that (avahi, systemd) would take ours for a conflict. Not the same in
    another life: its addresses must not be mixed with ours.
    """
    word = re.sub(r"[^a-z0-9-]", "-", node.lower())
    return fit(f"splnode-{word}-{epoch:x}", f"{node} {epoch}")


def numbered(name: str, number: int) -> str:
    """Another name, in place of one that somebody else has."""
    label = name.removesuffix(f".{TYPE}")
    return f"{fit(f'{label}-{number}', f'{label} {number}')}.{TYPE}"


def fit(text: str, whole: str) -> str:
    """The text, if it is short enough for a label; else its beginning, and some letters of the hash of `whole`."""
    if len(text.encode()) <= LABEL:
        return text
    digest = hashlib.sha256(whole.encode()).hexdigest()[:10]
    return f"{text.encode()[: LABEL - 11].decode('utf-8', 'ignore')}-{digest}"
