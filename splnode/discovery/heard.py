"""What was heard on the network, one record a service, as instances: one a life of a node at one host name.

Records of one node that name different hosts or ports are different instances: who forges a node's id gets an entry
beside it, not into it.
"""

import ipaddress
import typing
from collections.abc import Iterable, Sequence
from typing import Final

from splnode.discovery.resolver import Address, Instance
from splnode.discovery.txt import Txt
from splnode.endpoint import Endpoint

MOST: Final = 10_000
"""Records kept. Honest nodes have six or so each; a flood does not push out those that were there before."""
MOST_SERVICES: Final = 256
"""Services of one node."""
MOST_ADDRESSES: Final = 16
"""Addresses of one node."""
REJECTED: Final = 100
"""Records that were not believed, kept with the reason for whoever asks."""


class Record(typing.NamedTuple):
    """One announced service: the host name it was announced for, where that is, and what the TXT record says."""

    server: str
    port: int
    addresses: tuple[str, ...]
    txt: Txt


Key = tuple[str, int, str, int]


class Heard:
    """Records by their names, and the instances they make. `own` is (node, epoch) of this node, which is left out."""

    def __init__(self, source: str) -> None:
        self.own: tuple[str, int] | None = None
        self.rejected: dict[str, str] = {}
        self._source = source
        self._records: dict[str, Record] = {}
        self._groups: dict[Key, dict[str, Record]] = {}
        self._instances: dict[Key, Instance] = {}
        self._dirty: set[Key] = set()
        self._stale: set[str] = set()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, name: str, record: Record) -> None:
        """A record was heard, or heard anew."""
        self.rejected.pop(name, None)
        self._stale.discard(name)
        if self._records.get(name) == record:
            return
        self.drop(name)
        if (record.txt.node, record.txt.epoch) == self.own:
            return
        key = _key(record)
        group = self._groups.setdefault(key, {})
        if len(self._records) >= MOST or len(group) >= MOST_SERVICES:
            self.reject(name, f"more than {MOST} services were announced" if not group else "its node has too many")
            return
        self._records[name] = record
        group[name] = record
        self._dirty.add(key)

    def drop(self, name: str) -> None:
        """It said goodbye, or is no longer true."""
        self.rejected.pop(name, None)
        self._stale.discard(name)
        record = self._records.pop(name, None)
        if record is not None:
            key = _key(record)
            self._groups[key].pop(name)
            self._dirty.add(key)

    def reject(self, name: str, reason: str) -> None:
        """It cannot be believed; what it said before is forgotten."""
        self.drop(name)
        if len(self.rejected) >= REJECTED:
            self.rejected.pop(next(iter(self.rejected)))
        self.rejected[name] = reason

    def age(self) -> None:
        """All records are old from now on, until they are heard anew."""
        self._stale = set(self._records)

    def forget_stale(self) -> int:
        """Drops those that were not heard since `age`; gives how many."""
        stale = list(self._stale)
        for name in stale:
            self.drop(name)
        return len(stale)

    def instances(self) -> Iterable[Instance]:
        """All of them now. What has not changed is the same object."""
        for key in self._dirty:
            group = self._groups.get(key)
            if group:
                self._instances[key] = self._instance(list(group.values()))
            else:
                self._groups.pop(key, None)
                self._instances.pop(key, None)
        self._dirty.clear()
        return self._instances.values()

    def _instance(self, records: Sequence[Record]) -> Instance:
        first = records[0]
        hosts = dict.fromkeys(address for record in records for address in record.addresses)
        ordered = sorted(hosts, key=_preference)[:MOST_ADDRESSES]
        return Instance(
            tuple(Address(each, self._source) for each in _endpoints(records, ordered)),
            first.txt.node,
            first.txt.epoch,
            tuple(sorted((record.txt.service for record in records), key=lambda service: service.name)),
            "drain" if any(record.txt.state == "drain" for record in records) else "up",
            first.txt.weight,
        )


def _endpoints(records: Sequence[Record], hosts: Iterable[str]) -> Iterable[Endpoint]:
    """Where to dial; over TLS the node that was announced must be there, and prove it."""
    first = records[0]
    if any(record.txt.tls for record in records):
        return [Endpoint("tls", host, first.port, node=first.txt.node) for host in hosts]
    return [Endpoint("tcp", host, first.port) for host in hosts]


def usable(addresses: Iterable[str]) -> tuple[str, ...]:
    """Those that can be dialled: a link-local IPv6 address only with the interface that it is on."""
    found = []
    for address in addresses:
        ip = ipaddress.ip_address(address)
        unscoped = isinstance(ip, ipaddress.IPv6Address) and ip.is_link_local and not ip.scope_id
        if not (unscoped or ip.is_multicast or ip.is_unspecified):
            found.append(address)
    return tuple(found)


def _key(record: Record) -> Key:
    return record.txt.node, record.txt.epoch, record.server.lower(), record.port


def _preference(address: str) -> int:
    """IPv4, global IPv6, link-local: the order in which they most often work."""
    ip = ipaddress.ip_address(address)
    return 0 if ip.version == 4 else 2 if ip.is_link_local else 1
