"""Nodes that the DNS names: SRV records, or the addresses of a name, as a headless Kubernetes service gives them.

| name | asked for | gives |
|---|---|---|
| `_splnode._tcp.example.org` | SRV, then A and AAAA of each target | one instance a target, with its weight |
| `inventory.shop.svc.cluster.local:9090` | A and AAAA | one instance an address |

It asks again when what it heard runs out, never sooner than SHORTEST. With dnspython (`pip install splnode[dns]`)
that is the records' own TTL. Without it the system's resolver is asked each FIXED seconds, and cannot be asked for SRV.
A name that has no records gives nobody; a server that does not answer changes nothing.
"""

import asyncio
import importlib.util
import socket
import typing
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import structlog

from splnode.discovery.resolver import ALL, NONE, Address, Instance, Instances
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError

SHORTEST: Final = 1.0
LONGEST: Final = 300.0
"""Seconds between two questions, whatever the TTL says."""
NEGATIVE: Final = 5.0
"""Seconds for which a name without records is believed to have none."""
FIXED: Final = 10.0
"""Seconds between two questions to the system's resolver, which tells no TTL."""
LIFETIME: Final = 5.0
"""Seconds that one question may take, with all its servers."""

log = structlog.get_logger("splnode.discovery")


class Host(typing.NamedTuple):
    """Where one node is: its port, its addresses, and its share of the calls."""

    addresses: tuple[str, ...]
    port: int
    weight: float = 1.0


class Found(typing.NamedTuple):
    """The hosts of a name, and the seconds for which that is so."""

    hosts: tuple[Host, ...]
    ttl: float


class Lookup(typing.Protocol):
    """Asks the DNS once. OSError if nobody answers; no hosts if the name has none."""

    async def services(self, name: str) -> Found:
        """The SRV records of a name, and the addresses of their targets."""
        ...

    async def addresses(self, name: str, port: int) -> Found:
        """The addresses of a name, each a host."""
        ...


class Name(typing.NamedTuple):
    """A name to ask for: with a port its addresses, without one its SRV records."""

    name: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "Name":
        """`_service._tcp.DOMAIN` or `HOST:PORT`. ConfigError says what is missing."""
        name, colon, port = text.partition(":")
        if text.startswith("_") and not colon:
            return cls(text, None)
        if not name or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            known = "_splnode._tcp.DOMAIN for SRV records, or HOST:PORT for addresses"
            raise ConfigError(f"dns name {text!r}: write {known}")
        return cls(name, int(port))


class Dns:
    """A Resolver of one name. ConfigError if the name cannot be asked for here. `problem` says why it is not known."""

    def __init__(self, name: str, source: str = "dns", lookup: Lookup | None = None) -> None:
        self.name = source
        self.problem = ""
        self._name = Name.parse(name)
        if lookup is None:
            has_library = importlib.util.find_spec("dns") is not None
            if not has_library and self._name.port is None:
                raise ConfigError(f"dns name {name!r}: SRV records need dnspython: pip install 'splnode[dns]'")
            lookup = LibraryLookup() if has_library else SystemLookup()
        self._lookup = lookup

    async def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        """Who has the name now, and again when that has changed. What they serve is not known."""
        last: Instances | None = None
        while True:
            try:
                found = await self._ask()
            except OSError as error:
                self._fails(str(error))
                wait = NEGATIVE
                instances = NONE if last is None else last
            else:
                self._fails("")
                wait = min(max(found.ttl, SHORTEST), LONGEST)
                instances = frozenset(self._instances(found.hosts))
            if instances != last:
                last = instances
                yield instances
            await asyncio.sleep(wait)

    async def _ask(self) -> Found:
        if self._name.port is None:
            return await self._lookup.services(self._name.name)
        return await self._lookup.addresses(self._name.name, self._name.port)

    def _fails(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.warning("the DNS does not answer, what it said before is kept", name=self._name.name, reason=problem)
        self.problem = problem

    def _instances(self, hosts: Iterable[Host]) -> Iterable[Instance]:
        for host in hosts:
            addresses = tuple(Address(Endpoint("tcp", each, host.port), self.name) for each in host.addresses)
            yield Instance(addresses, weight=host.weight)


class LibraryLookup:
    """A Lookup through dnspython. `servers` instead of those in /etc/resolv.conf, all on `port`."""

    def __init__(self, servers: Sequence[str] | None = None, port: int = 53) -> None:
        import dns.asyncresolver  # noqa: PLC0415 - an extra

        self._resolver = dns.asyncresolver.Resolver(configure=servers is None)
        if servers is not None:
            self._resolver.nameservers = list(servers)
            self._resolver.port = port

    async def services(self, name: str) -> Found:
        """The SRV records of the lowest priority that have addresses. RFC 2782: weight 0 is a very small one."""
        records, ttl = await self._query(name, "SRV")
        for priority in sorted({record.priority for record in records}):
            group = [record for record in records if record.priority == priority]
            found = await asyncio.gather(*(self.addresses(str(record.target), record.port) for record in group))
            mean = sum(record.weight for record in group) / len(group) or 1.0
            hosts = [
                Host(tuple(each for host in answer.hosts for each in host.addresses), record.port, weight)
                for record, answer in zip(group, found, strict=True)
                if answer.hosts
                for weight in [max(record.weight / mean, 0.01) if any(each.weight for each in group) else 1.0]
            ]
            if hosts:
                return Found(tuple(hosts), min([ttl, *(answer.ttl for answer in found)]))
        return Found((), min(ttl, NEGATIVE))

    async def addresses(self, name: str, port: int) -> Found:
        """IPv4 first."""
        answers = await asyncio.gather(self._query(name, "A"), self._query(name, "AAAA"), return_exceptions=True)
        good = [each for each in answers if not isinstance(each, BaseException)]
        for each in answers:
            if isinstance(each, BaseException) and not (good and isinstance(each, OSError)):
                raise each
        hosts = [Host((record.address,), port) for records, _ in good for record in records]
        ttls = [ttl for records, ttl in good if records]
        return Found(tuple(hosts), min(ttls, default=NEGATIVE))

    async def _query(self, name: str, kind: str) -> tuple[list[Any], float]:
        import dns.exception  # noqa: PLC0415 - an extra
        import dns.resolver  # noqa: PLC0415 - an extra

        try:
            answer = await self._resolver.resolve(name, kind, lifetime=LIFETIME, search=True)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return [], NEGATIVE
        except (dns.exception.DNSException, ValueError) as error:
            raise OSError(f"{name} {kind}: {error}") from None
        return list(answer), float(answer.rrset.ttl if answer.rrset is not None else NEGATIVE)


class SystemLookup:
    """A Lookup through getaddrinfo: /etc/hosts and whatever else the system asks, without a TTL, and no SRV."""

    async def services(self, name: str) -> Found:
        """Never: the system's resolver does not ask for SRV."""
        raise ConfigError(f"dns name {name!r}: SRV records need dnspython: pip install 'splnode[dns]'")

    async def addresses(self, name: str, port: int) -> Found:
        """IPv4 first."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LIFETIME):
                found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                return Found((), FIXED)
            raise OSError(f"{name}: {error.strerror}") from None
        except TimeoutError:
            raise OSError(f"{name}: no answer within {LIFETIME:g} s") from None
        hosts = dict.fromkeys(str(each[4][0]) for each in sorted(found, key=lambda each: each[0] != socket.AF_INET))
        return Found(tuple(Host((each,), port) for each in hosts), FIXED)
