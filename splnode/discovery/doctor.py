"""Why nodes do not find each other: each thing that it takes, looked at, with what to do about it."""

import asyncio
import contextlib
import secrets
import shutil
import socket
import struct
import time
import typing
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

from splnode.discovery.interfaces import Interface
from splnode.discovery.resolver import Address, Instance
from splnode.discovery.roster import Roster
from splnode.endpoint import Endpoint
from splnode.errors import CallError, SplnodeError

Grade = Literal["GOOD", "NOTE", "BAD"]

GROUP: Final = "224.0.0.251"
GROUP6: Final = "ff02::fb"
PORT: Final = 5353
"""RFC 6762, section 3."""
HEARING: Final = 1.0
"""Seconds in which our own packet must come back."""
CLOCKS: Final = 8
"""Peers whose clocks are compared."""
ASKING: Final = 3.0
SKEW: Final = 2.0
"""Seconds that two clocks may differ: deadlines travel as durations, but logs and epochs are times."""
BUILT: Final = 1_767_225_600
"""2026-01-01: no clock is right that shows less."""
SHOWN: Final = 20


class Finding(typing.NamedTuple):
    """One thing that was looked at: `check` names what, `text` says what was found, `fix` what to do."""

    check: str
    grade: Grade
    text: str
    fix: str = ""


class Network(typing.Protocol):
    """What the doctor needs of multicast DNS."""

    problem: str
    interfaces: tuple[Interface, ...]

    @property
    def rejected(self) -> dict[str, str]:
        """Announcements that were not believed."""
        ...


Clock = Callable[[Endpoint], Awaitable[float]]
"""The clock of the node at an endpoint, in seconds since 1970. CallError, within some seconds."""


async def diagnose(
    network: Network | None,
    roster: Roster,
    listening: Sequence[Endpoint],
    reach: Callable[[Endpoint], Awaitable[None]],
    clock: Clock,
    check_up: Callable[[], list[Finding]] = list,
) -> list[Finding]:
    """Everything: this host alone, by `check_up` in a thread; then in the order in which a packet meets it.

    Takes some seconds; never raises.
    """
    await roster.check(HEARING + 1)
    here, looped, ports, clocks = await asyncio.gather(
        asyncio.to_thread(check_up),
        _multicast(network),
        _ports(listening, network, reach),
        _clocks(roster, clock),
        return_exceptions=True,
    )
    found = [*_or_bug(here), *_interfaces(network), *_or_bug(looped), *_or_bug(ports)]
    found += [*_sources(roster), *_rejected(network), *_peers(roster, network, listening)]
    return found + _or_bug(clocks)


def _or_bug(part: list[Finding] | BaseException) -> list[Finding]:
    if isinstance(part, BaseException):
        return [Finding("doctor", "NOTE", f"a check could not be made: {type(part).__name__}: {part}")]
    return part


def _interfaces(network: Network | None) -> Iterable[Finding]:
    if network is None:
        fix = 'listen where others reach this node, or set discovery.mdns = "on"'
        yield Finding(
            "multicast", "NOTE", "multicast DNS is off: nodes are found by static peers, files and DNS alone", fix
        )
        return
    for each in network.interfaces:
        addresses = ", ".join(each.addresses) or "no address"
        used = "used" if each.used else "not used"
        yield Finding("interface", "GOOD" if each.used else "NOTE", f"{each.name} ({addresses}): {used}, {each.reason}")
    if network.problem:
        yield Finding("multicast", "BAD", network.problem, "name an interface in discovery.interfaces, or use peers")


async def _multicast(network: Network | None) -> list[Finding]:
    addresses = [
        (each, address)
        for each in (network.interfaces if network is not None else ())
        if each.used
        for address in (*each.ipv4[:1], *(a for a in each.ipv6[-1:] if a != "::1"))
    ]
    answers = await asyncio.gather(*(asyncio.to_thread(loop_back, address, each.index) for each, address in addresses))
    return [_looped(each, address, why) for (each, address), why in zip(addresses, answers, strict=True)]


def _looped(interface: Interface, address: str, why: str) -> Finding:
    if not why:
        return Finding(
            "multicast", "GOOD", f"{interface.name} ({address}): what is sent to {_group(address)} comes back"
        )
    return Finding("multicast", "BAD", f"{interface.name} ({address}): {why}", firewall_hint(()))


def loop_back(address: str, index: int) -> str:
    """Sends a question to the group, and listens for it. Why that fails; empty if it works. Blocks for HEARING."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    name = f"splnode-doctor-{secrets.token_hex(4)}"
    question = struct.pack(">6H", 0, 0, 1, 0, 0, 0) + bytes((len(name),)) + name.encode() + b"\5local\0\0\1\0\1"
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as ear, socket.socket(family, socket.SOCK_DGRAM) as mouth:
            _join(ear, family, address, index)
            if family == socket.AF_INET:
                mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
                mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
                mouth.sendto(question, (GROUP, PORT))
            else:
                mouth.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
                mouth.sendto(question, (GROUP6, PORT, 0, index))
            until = time.monotonic() + HEARING
            while (left := until - time.monotonic()) > 0:
                ear.settimeout(left)
                if ear.recv(9000) == question:
                    return ""
    except TimeoutError:
        pass
    except OSError as error:
        return f"nothing can be sent to {_group(address)}: {error.strerror or error}"
    return f"what is sent to {_group(address)} does not come back"


def _join(ear: socket.socket, family: int, address: str, index: int) -> None:
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError, AttributeError):
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET:
        ear.bind((GROUP, PORT))
        member = socket.inet_aton(GROUP) + socket.inet_aton(address)
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    else:
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        ear.bind(("::", PORT))
        member = socket.inet_pton(socket.AF_INET6, GROUP6) + struct.pack("@I", index)
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)


async def _ports(
    listening: Sequence[Endpoint], network: Network | None, reach: Callable[[Endpoint], Awaitable[None]]
) -> list[Finding]:
    found = []
    for endpoint in listening:
        for each in _dialled(endpoint, network):
            try:
                await reach(each)
            except SplnodeError as error:
                reason = error.message if isinstance(error, CallError) else str(error)
                fix = firewall_hint([endpoint]) if "refused" in reason else _peer_fix(reason, endpoint)
                found.append(Finding("port", "BAD", f"this node: {reason}", fix))
            else:
                found.append(Finding("port", "GOOD", f"this node at {each} can be connected to from this host"))
    if listening and all(endpoint.is_local for endpoint in listening):
        text = "it listens for this host alone: no other node can call it"
        found.append(Finding("port", "NOTE", text, "listen on tcp://0.0.0.0:9090 or on one address of this host"))
    return found


def _dialled(endpoint: Endpoint, network: Network | None) -> list[Endpoint]:
    """Where others would dial an endpoint that listens everywhere."""
    if endpoint.scheme == "unix" or endpoint.host not in ("0.0.0.0", "::"):
        return [endpoint]
    family = 6 if endpoint.host == "::" else 4
    used = [each for each in (network.interfaces if network is not None else ()) if each.used]
    hosts = [address for each in used for address in ((each.ipv6 if family == 6 else each.ipv4)[:1])]
    hosts = hosts or ["::1" if family == 6 else "127.0.0.1"]
    return [Endpoint(endpoint.scheme, host, endpoint.port, endpoint.path, endpoint.framing) for host in hosts]


def _sources(roster: Roster) -> Iterable[Finding]:
    for report in roster.reports:
        if report.problem:
            yield Finding("source", "BAD", f"{report.name}: {report.problem}; kept from before: {report.found}")
        else:
            yield Finding("source", "GOOD", f"{report.name}: {report.found} found")


def _rejected(network: Network | None) -> Iterable[Finding]:
    rejected = network.rejected if network is not None else {}
    for name, why in list(rejected.items())[-SHOWN:]:
        yield Finding("announcement", "NOTE", f"{name!r} is not believed: {why}")


def _peers(roster: Roster, network: Network | None, listening: Sequence[Endpoint]) -> Iterable[Finding]:
    present = sorted(
        ((*roster.standing(each), each) for each in roster.present), key=lambda row: (not row[1], row[2].node)
    )
    for state, problem, each in present[:SHOWN]:
        where = f"{each.node or 'a node'} at {each.endpoints[0]} ({', '.join(each.sources)})"
        if problem:
            yield Finding("peers", "BAD", f"{where}: {problem}", _peer_fix(problem, each.endpoints[0]))
        else:
            yield Finding("peers", "GOOD", f"{where}: {'it is about to stop' if state == 'drain' else 'found'}")
    if len(present) > SHOWN:
        yield Finding("peers", "NOTE", f"{len(present) - SHOWN} more")
    if not present:
        hint = firewall_hint(listening) if network is not None else "give discovery.peers, or SPLNODE_PEERS"
        yield Finding("peers", "NOTE", "no other node was found", hint)


def _peer_fix(problem: str, endpoint: Endpoint) -> str:
    """Where somebody has answered nothing stands between, and a firewall is not to be looked for."""
    if "refused" in problem:
        return "start the node there, or correct its address"
    if any(word in problem for word in ("certificate", "TLS", "authority", "mesh key")):
        return "certificates of one authority on both, or one mesh key: splnode cert show FILE says whose one is"
    return firewall_hint([endpoint])


async def _clocks(roster: Roster, clock: Clock) -> list[Finding]:
    if time.time() < BUILT:
        return [Finding("clock", "BAD", f"this host's clock shows {time.ctime()}", "set it: timedatectl set-ntp true")]
    present = sorted(roster.present, key=lambda each: each.node)
    peers = [each for each in present if not roster.standing(each)[1]][:CLOCKS]
    offsets = await asyncio.gather(*(_offset(each, clock) for each in peers))
    return [_skewed(each, offset) for each, offset in zip(peers, offsets, strict=True) if offset is not None]


async def _offset(instance: Instance, clock: Clock) -> float | None:
    before = time.time()
    try:
        async with asyncio.timeout(ASKING):
            theirs = await clock(instance.endpoints[0])
    except (SplnodeError, TimeoutError):
        return None
    after = time.time()
    # Anything between the question and the answer is right.
    return theirs - min(max(theirs, before), after) if theirs else None


def _skewed(instance: Instance, offset: float) -> Finding:
    name = instance.node or str(instance.endpoints[0])
    if abs(offset) <= SKEW:
        return Finding("clock", "GOOD", f"{name}: its clock is ours, within {SKEW:g} s")
    order = "ahead of" if offset > 0 else "behind"
    return Finding("clock", "BAD", f"{name}: its clock is {abs(offset):.1f} s {order} ours", "let both follow NTP")


def firewall_hint(endpoints: Sequence[Endpoint | Address]) -> str:
    """What to allow, in the words of the firewall that is here."""
    ports = sorted({each.port for each in endpoints if isinstance(each, Endpoint) and each.port}) or [9090]
    wanted = [(PORT, "udp"), *((port, "tcp") for port in ports)]
    if _enabled(Path("/etc/ufw/ufw.conf"), "ENABLED=yes"):
        rules = [f"ufw allow {port}/{kind}" for port, kind in wanted]
    elif Path("/run/firewalld").exists():
        rules = [f"firewall-cmd --add-port={port}/{kind}" for port, kind in wanted]
    elif shutil.which("nft"):
        rules = [f"nft add rule inet filter input {kind} dport {port} accept" for port, kind in wanted]
    else:
        rules = [f"iptables -I INPUT -p {kind} --dport {port} -j ACCEPT" for port, kind in wanted]
    return "a firewall? allow it on both hosts: " + "; ".join(rules)


def _enabled(path: Path, word: str) -> bool:
    try:
        return word in path.read_text("utf-8", "replace")
    except OSError:
        return False


def _group(address: str) -> str:
    return f"[{GROUP6}]:{PORT}" if ":" in address else f"{GROUP}:{PORT}"
