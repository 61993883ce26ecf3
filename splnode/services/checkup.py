"""What the doctor looks at on this host alone: what the node proves itself by, and the files that say who may come."""

import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Final

from splnode.access.keeper import Keeper
from splnode.discovery.doctor import Finding
from splnode.endpoint import Endpoint
from splnode.net.tls import ENDLESS, Tls
from splnode.net.tls_files import Certificate, since
from splnode.net.tls_reasons import explain

SOON: Final = 30 * 86_400.0
"""Seconds before its end from which on a certificate is spoken of."""
_RENEW: Final = "renew it: splnode cert node NAME --force, or whoever made it; it is taken without a restart"
_CLOCK: Final = "set this host's clock (timedatectl set-ntp true), or wait until then"
_ROUNDS: Final = 6
"""Turns of both ends that a handshake needs at most, and some to spare."""


def check_up(
    tls: Tls | None, listening: Sequence[Endpoint] = (), keeper: Keeper | None = None, now: float | None = None
) -> list[Finding]:
    """Everything. It reads files, so it is for a thread; `now` is in seconds since 1970. It never raises."""
    moment = time.time() if now is None else now
    return [*_encryption(tls, listening), *_certificates(tls, moment), *(_access(keeper) if keeper is not None else ())]


def _encryption(tls: Tls | None, listening: Sequence[Endpoint]) -> Iterable[Finding]:
    both = tls is not None and tls.plain == "both"
    plain = [str(each) for each in listening if not each.is_local and (both or not each.is_secure)]
    if plain:
        text = f"{', '.join(plain)}: everybody who reaches it can read along, and call as a member of the mesh"
        yield Finding("encryption", "NOTE", text, "give the node a certificate or a mesh key: splnode cert --help")


def _certificates(tls: Tls | None, now: float) -> Iterable[Finding]:
    if tls is None:
        return
    if fault := tls.fault():
        text = f"the files are not fit to be read again, and the node goes on with what it has: {fault}"
        yield Finding("certificate", "BAD", text, "put it right: it is read again then, without a restart")
    if not tls.serves:
        text = f"the node has none; it believes {tls.authority or 'the authorities of the system'}"
        yield Finding("certificate", "NOTE", text)
    for place, shown in enumerate(tls.shown):
        if shown.expires == ENDLESS:
            text = f"{shown.file}: a mesh key of {tls.mesh}; the node makes a certificate of it each day"
            yield Finding("certificate", "GOOD", text)
        else:
            yield _dated(shown, now)
        if place == 0:
            yield from _chained(tls, shown)
        elif all(any(earlier.is_for(host) for earlier in tls.shown[:place]) for host in shown.hosts):
            text = f"{shown.file}: nobody is shown it: those before it are for its host names too, or it has none"
            yield Finding("certificate", "NOTE", text, "take it out of tls.certificates")
    for ends in tls.authorities_end:
        if ends - now < SOON:
            verb = "ended at" if ends < now else "ends at"
            text = f"the authority {tls.authority} {verb} {since(ends)}, and all its certificates with it"
            fix = "make another: splnode cert init, and splnode cert node for each node"
            yield Finding("certificate", "BAD" if ends < now else "NOTE", text, fix)


def _dated(shown: Certificate, now: float) -> Finding:
    whose = f"of the node {shown.node} of the mesh {shown.mesh}" if shown.node else "of no node of a mesh"
    hosts = f", for {', '.join(shown.hosts)}" if shown.hosts else ""
    text = f"{shown.file}: {whose}{hosts}, good from {since(shown.begins)} to {since(shown.expires)}"
    if now < shown.begins:
        return Finding("certificate", "BAD", f"{text}: not yet, by this host's clock ({since(now)})", _CLOCK)
    if now >= shown.expires:
        return Finding("certificate", "BAD", f"{text}: it has expired", _RENEW)
    if shown.expires - now < SOON:
        left = (shown.expires - now) / 86_400
        return Finding("certificate", "NOTE", f"{text}: {left:.0f} days are left", _RENEW)
    return Finding("certificate", "GOOD", text)


def _chained(tls: Tls, shown: Certificate) -> Iterable[Finding]:
    why = _refused(tls, shown)
    if why and tls.mesh and not tls.authority and shown.expires != ENDLESS:
        text = f"{shown.file}: it is of a mesh, and its authority is not here: the node believes no other one of it"
        yield Finding("certificate", "BAD", text, "put authority.pem beside it, or name it in tls.authority")
    elif why and (tls.authority or tls.mesh):
        fix = "the certificate and the authority are to be of one mesh: splnode cert show tells; splnode cert node"
        yield Finding("certificate", "BAD", f"{shown.file}: {why}", fix)
    elif why:
        text = f"{shown.file}: this system does not believe its authority: clients of it need that (--ca)"
        yield Finding("certificate", "NOTE", text)


def _refused(tls: Tls, shown: Certificate) -> str:
    """Why a node that believes what this one does would not speak with it; "" if it would. Dates are not looked at."""
    host = next((each.replace("*", "any") for each in shown.hosts), "localhost")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = tls.client(), tls.server()
    ours = client.wrap_bio(down, up, server_hostname=host)
    theirs = server.wrap_bio(up, down, server_side=True)
    for _ in range(_ROUNDS):
        for who, end in (("others", ours), ("this node", theirs)):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                if getattr(error, "verify_code", 0) in (9, 10):  # that has been said with the dates
                    return ""
                return f"{who} would not accept it: {explain(error)}"
    return ""


def _access(keeper: Keeper) -> Iterable[Finding]:
    if fault := keeper.fault():
        text = f"who may call what cannot be read again, and stays as it was: {fault}"
        yield Finding("access", "BAD", text, "put it right: it is read again then, without a restart")
    else:
        yield Finding("access", "GOOD", keeper.files)
    if keeper.lost:
        text = f"{keeper.lost} lines of the audit log could not be written"
        yield Finding("access", "BAD", text, "make room on its disk, or let the node write there")
