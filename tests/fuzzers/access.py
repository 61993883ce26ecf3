"""Targets: what says who somebody is, and what they may do. Each takes any bytes."""

import contextlib
import functools
import ssl
import sys
from typing import Final

from splnode.access import policy as policies
from splnode.access.tokens import Tokens, _parse, digest
from splnode.errors import ConfigError, RemoteWireError
from splnode.identity import ANYONE, IDENTITY_KEY, MESH, NOBODY, OWN, Identity, identity_for
from splnode.net.tls_hello import asked_name
from splnode.wire.sasl import read_plain

WHO: Final = (
    Identity("node", (OWN,), "process"),
    Identity("uid:1000", ("unix",), "unix"),
    Identity("token:press", ("token",), "token"),
    Identity("spiffe://kitchen/node/oven", (MESH,), "certificate"),
    Identity("loopback", ("loopback",), "tcp"),
    NOBODY,
)
CALLS: Final = (("splnode.Health", "check"), ("com.acme.Press", "press"), ("SPlectrumEngine", "execute"))


def policy(data: bytes) -> None:
    """Policies: refused with the file's name, or each verdict is that of the first rule that fits, by its line."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        found = policies.parse(text, "here.toml")
    except ConfigError as error:
        assert "here.toml" in str(error), error
        return
    for who in WHO:
        for service, message in CALLS:
            verdict = found.decide(who, service, message)
            fitting = [rule for rule in found.rules if rule.fits(found.known(who), service, message)]
            assert verdict == fitting[0].verdict if fitting else not verdict.allowed, (who, service, message, verdict)
            if verdict.line and verdict.source == "here.toml":
                assert "rule" in text.split("\n")[verdict.line - 1], verdict


def tokens(data: bytes) -> None:
    """Files of tokens: refused with the file's name, or tokens that are good for nothing once they have expired."""
    try:
        found = _parse(data, "tokens.json")
    except ConfigError as error:
        assert "tokens.json" in str(error), error
        return
    held = Tokens(found)
    for token in found:
        identity = token.identity
        assert not {OWN, MESH, "loopback", "unix", "insecure"} & identity.groups, identity
        if token.expires is not None:
            assert held.live(token.digest, token.expires + 1) is None
        held.has_scope(identity, "com.acme.Press", "press")
    text = data.decode("utf-8", "replace")
    assert held.find(text, 0.0) is None or any(token.digest == digest(text) for token in found)


def identity(data: bytes) -> None:
    """Who a call is for: nobody becomes more by what they write there than who brings the call may say."""
    metadata = {IDENTITY_KEY: data}
    for peer in WHO:
        named = identity_for(peer, metadata)
        if not {OWN, MESH} & peer.groups:
            assert named is peer
        elif OWN not in peer.groups and named is not peer:
            assert named.groups <= {MESH, ANYONE}, named
        assert Identity(named.name, named.groups, named.how).text == named.text


def plain(data: bytes) -> None:
    """SASL PLAIN: refused without its bytes being told, or a name and a password that stand in it."""
    try:
        name, password = read_plain(data)
    except RemoteWireError as error:
        for part in data.split(b"\0"):
            with contextlib.suppress(UnicodeDecodeError):
                assert len(part) < 8 or part.decode() not in str(error)
        return
    assert name and password
    assert data.endswith(f"\0{name}\0{password}".encode())


def hello(data: bytes) -> None:
    """A ClientHello: TLS is told of the same host; what is there in part is waited for, and more changes nothing."""
    found = _asked(data)
    for end in range(0, len(data), 1 + len(data) // 16):
        assert _asked(data[:end]) in (None, found), end
    if found is not None:
        assert _asked(data + b"more") == found
        told = _told(data)
        assert told is None or told == found, (told, found)


def _asked(data: bytes) -> str | None:
    try:
        return asked_name(data)
    except ValueError:
        return "in too many parts"


@functools.cache
def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _told(data: bytes) -> str | None:
    """The host that TLS itself reads there, as it tells it; None where it comes to none."""
    told: list[str] = []
    context = _context()
    context.sni_callback = lambda link, name, context: told.append(name or "")
    come = ssl.MemoryBIO()
    come.write(data)
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None  # of a name that is no ASCII it says much on stderr
    try:
        with contextlib.suppress(ssl.SSLError):
            context.wrap_bio(come, ssl.MemoryBIO(), server_side=True).do_handshake()
    finally:
        sys.unraisablehook = hook
    return told[0].lower().removesuffix(".") if told else None
