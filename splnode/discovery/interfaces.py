"""The network interfaces that multicast DNS uses, and why the others are not used.

Chosen are those with a default route, and those that are named. Where there is no default route at all (a network of
containers without a way out), it is every interface that can carry multicast. Tunnels and the bridges and pairs of
containers are used only where they are named: what is said there reaches the same hosts twice, or nobody.
"""

import fcntl
import fnmatch
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import ifaddr
import msgspec

DEFAULT: Final = "default"
"""Instead of an interface's name: those with a default route."""
SKIPPED: Final = ("docker*", "veth*", "br-*", "virbr*", "cni*", "flannel*", "cali*", "tun*", "tap*", "wg*", "zt*")
"""Interfaces that are used only where they are named."""

SIOCGIFFLAGS: Final = 0x8913
UP, LOOPBACK, RUNNING, MULTICAST = 0x1, 0x8, 0x40, 0x1000
"""netdevice(7)."""
TENTATIVE: Final = 0x40 | 0x08
"""An IPv6 address that cannot be bound (rtnetlink(7): IFA_F_TENTATIVE, IFA_F_DADFAILED)."""

# Nothing is sent there: to connect a datagram socket asks the routing table for the address one would send from.
_FAR_AWAY: Final = ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1"))


class Interface(msgspec.Struct, frozen=True):
    """One interface: its addresses (IPv6 ones that are link-local without their scope), and whether it is used.

    `reason` says why it is used, or why not.
    """

    name: str
    index: int
    addresses: tuple[str, ...]
    used: bool
    reason: str

    @property
    def ipv4(self) -> tuple[str, ...]:
        """The IPv4 addresses."""
        return tuple(each for each in self.addresses if ":" not in each)

    @property
    def ipv6(self) -> tuple[str, ...]:
        """The IPv6 addresses, link-local ones too."""
        return tuple(each for each in self.addresses if ":" in each)


class Link(msgspec.Struct, frozen=True):
    """What the system says of an interface. `routed`: a default route leads through it."""

    name: str
    index: int
    addresses: tuple[str, ...]
    flags: int = UP | RUNNING | MULTICAST
    routed: bool = False


def scan(wanted: Sequence[str] = (DEFAULT,)) -> tuple[Interface, ...]:
    """The interfaces of this host (network namespace), now; those that are used first."""
    return choose(list(_links()), wanted)


def choose(links: Iterable[Link], wanted: Sequence[str]) -> tuple[Interface, ...]:
    """Which of the links are used, for which reason. `wanted` are names, patterns (`eth*`), and DEFAULT."""
    links = sorted(links, key=lambda link: link.index)
    patterns = [each for each in wanted if each != DEFAULT]
    routed = any(link.routed for link in links if not _impossible(link))
    found = [
        Interface(link.name, link.index, link.addresses, *_verdict(link, patterns, DEFAULT in wanted, routed))
        for link in links
    ]
    return tuple(sorted(found, key=lambda each: not each.used))


def _verdict(link: Link, patterns: Sequence[str], default: bool, routed: bool) -> tuple[bool, str]:
    impossible = _impossible(link)
    if impossible:
        return False, impossible
    if any(fnmatch.fnmatchcase(link.name, pattern) for pattern in patterns):
        return True, "it is named in discovery.interfaces"
    if not default:
        return False, "it is not named in discovery.interfaces"
    skipped = next((pattern for pattern in SKIPPED if fnmatch.fnmatchcase(link.name, pattern)), None)
    if link.flags & LOOPBACK:
        return False, "it is the loopback, and not named in discovery.interfaces"
    if skipped:
        return False, f"{skipped} is skipped unless it is named in discovery.interfaces"
    if link.routed:
        return True, "it has a default route"
    if routed:
        return False, "another has the default route, and it is not named in discovery.interfaces"
    if not link.flags & MULTICAST:
        return False, "it carries no multicast"
    return True, "no interface has a default route"


def _impossible(link: Link) -> str:
    if not link.flags & UP:
        return "it is down"
    if not link.flags & RUNNING:
        return "it has no carrier (a cable?)"
    if not link.addresses:
        return "it has no address"
    return ""


def _links() -> Iterator[Link]:
    sources = {address for family, far in _FAR_AWAY for address in _source(family, far)}
    unusable = set(_tentative())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for adapter in ifaddr.get_adapters():
            name = adapter.name
            addresses = [str(each.ip) if each.is_IPv4 else each.ip[0] for each in adapter.ips]
            usable = tuple(sorted((each for each in addresses if each not in unusable), key=_preference))
            yield Link(name, adapter.index or 0, usable, _flags(sock, name), not sources.isdisjoint(usable))


def _preference(address: str) -> tuple[int, str]:
    """IPv4, then global IPv6, then link-local."""
    ip = ipaddress.ip_address(address)
    return (0 if ip.version == 4 else 2 if ip.is_link_local else 1), address


def _source(family: int, far: str) -> Iterator[str]:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((far, 9))
            yield sock.getsockname()[0]
    except OSError:  # no route, or no such family
        return


def _flags(sock: socket.socket, name: str) -> int:
    request = struct.pack("16sH14x", name.encode()[:15], 0)
    try:
        return int(struct.unpack_from("H", fcntl.ioctl(sock, SIOCGIFFLAGS, request), 16)[0])
    except OSError:  # gone meanwhile, or another system's number: whoever binds will see
        return UP | RUNNING | MULTICAST | (LOOPBACK if name.startswith("lo") else 0)


def _tentative() -> Iterator[str]:
    """IPv6 addresses that are not ready: address, index, prefix, scope, flags, name; all but the name in hex."""
    try:
        lines = Path("/proc/self/net/if_inet6").read_text("ascii").splitlines()
    except OSError:  # no IPv6, or another system
        return
    for line in lines:
        digits, _, _, _, flags, _ = line.split()
        if int(flags, 16) & TENTATIVE:
            yield str(ipaddress.IPv6Address(int(digits, 16)))
