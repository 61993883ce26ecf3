"""The guard: asks the policy and the tokens about every call, refuses those that may not be, and has it written down.

```
who brings it     what its connection proves (net.proof), or the token that the connection was opened with
whom it is for    the token in its metadata; else whom a trusted peer names (identity.identity_for); else the peer
allowed           a token: if it may; a peer that names another: if both may; else: if the peer may
```

The node itself (`identity.NODE`: this process, and those that it has made of itself) may do everything: what a policy
could keep from it its code has anyhow. What it does for somebody is judged by whom it is for.

Verdicts are kept until policy or tokens change. Nothing is kept of a token: whether one is live is asked each time.
"""

import time
from collections.abc import Callable
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, Final

from splnode.access.audit import Audit
from splnode.access.policy import Policy, Verdict, default_policy
from splnode.access.tokens import PREFIX, Token, Tokens
from splnode.errors import CallError, Code
from splnode.identity import AUTHORIZATION_KEY, IDENTITY_KEY, INSECURE, NODE, Identity
from splnode.rpc.call import IN_PROCESS, Call, Peer, running

CALL_ID_KEY: Final = "spl-call-id"
KEPT: Final = 10_000
"""Verdicts that are kept."""
SCHEME: Final = "bearer "
REFUSED: Final = "this is no token that is good here"
"""All that is said of a token that is unknown, revoked or too old."""
PLAIN: Final = "a token must not be sent over an unencrypted link between hosts: use TLS, and take another token"

_Key = tuple[bytes, str, str]
_NODE: Final = Verdict(True, "", 0, "the node itself may call everything")


class Guard:
    """Implements `rpc.guard.Guard`. `replace` takes another policy or other tokens, and then tells `changed`.

    `denied` counts calls that were refused, by their codes. `look` is asked before a token is refused: whether there
    are others by now, since one may be used in the moment when it was made.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        tokens: Tokens | None = None,
        audit: Audit | None = None,
        *,
        audit_all: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.look: Callable[[], bool] = lambda: False
        self.watchful = False
        self.denied = {Code.PERMISSION_DENIED.name: 0, Code.UNAUTHENTICATED.name: 0}
        self._audit = audit
        self._clock = clock
        self._verdicts: dict[_Key, Verdict] = {}
        self.replace(policy or default_policy(), tokens or Tokens(), audit_all=audit_all)

    def replace(self, policy: Policy, tokens: Tokens, *, audit_all: bool = False) -> None:
        """From the next call on; those that run go on."""
        self._policy = policy
        self._tokens = tokens
        self._audit_all = audit_all and self._audit is not None
        self._verdicts.clear()
        self.watchful = self._audit_all
        self.changed()

    def check(self, call: Call, *, here: bool = True) -> None:
        """See `rpc.guard.Guard`."""
        service, message = call.contract.protocol.name, call.message.name
        if here and AUTHORIZATION_KEY in call.metadata:
            self._authenticate(call)
        peer = call.peer
        if peer.token is not None and self._tokens.live(peer.token, self._clock()) is None:
            raise self._unauthenticated(peer, call)
        who = call.identity
        if who is not peer.identity:
            self._judge(call, peer.identity, service, message)
        self._judge(call, who, service, message)
        if self._audit_all:
            self._put("allowed", call, who, self.verdict(who, service, message))

    def lets(self, peer: Peer, service: str, message: str) -> bool:
        """See `rpc.guard.Guard`. A peer that is known by a token is looked at each time: it may be revoked."""
        if self._audit_all or peer.token is not None:
            return False
        return self.verdict(peer.identity, service, message).allowed

    def login(self, peer: Peer, name: str, token: str) -> Peer:
        """See `rpc.guard.Guard`."""
        if INSECURE in peer.identity.groups:
            raise self._unauthenticated(peer, reason=PLAIN)
        found = self._find(token)
        if found is None or found.name != name:
            raise self._unauthenticated(peer)
        return _known(peer, found)

    def bearer(self, peer: Peer, authorization: str) -> Peer:
        """See `rpc.guard.Guard`."""
        return _known(peer, self._bearer(peer, authorization))

    def verdict(self, who: Identity, service: str, message: str) -> Verdict:
        """What the policy says, and of a token also what it was made for."""
        if who is NODE:
            return _NODE
        key = (who.text, service, message)
        found = self._verdicts.get(key)
        if found is None:
            found = self._policy.decide(who, service, message)
            if found.allowed and not self._tokens.has_scope(who, service, message):
                found = Verdict(False, "", 0, "its token was not made for that")
            if len(self._verdicts) >= KEPT:
                self._verdicts.clear()
            self._verdicts[key] = found
        return found

    def _judge(self, call: Call, who: Identity, service: str, message: str) -> None:
        verdict = self.verdict(who, service, message)
        if verdict.allowed:
            return
        self.denied[Code.PERMISSION_DENIED.name] += 1
        self._put("denied", call, who, verdict)
        place = verdict._replace(source=PurePath(verdict.source).name).place
        raise CallError(Code.PERMISSION_DENIED, f"{who} may not call {service}.{message} ({place})", started=False)

    def _authenticate(self, call: Call) -> None:
        """Who the call is for shows by its token, which then leaves the call: from now on it comes from there."""
        value = call.metadata[AUTHORIZATION_KEY].decode("ascii", "replace")
        call.peer = _known(call.peer, self._bearer(_came_from(call), value, call))
        kept = {key: each for key, each in call.metadata.items() if key not in (AUTHORIZATION_KEY, IDENTITY_KEY)}
        call.metadata = MappingProxyType(kept)

    def _bearer(self, peer: Peer, authorization: str, call: Call | None = None) -> Token:
        if INSECURE in peer.identity.groups:
            raise self._unauthenticated(peer, call, PLAIN)
        found = None
        if authorization[: len(SCHEME)].lower() == SCHEME:
            found = self._find(authorization[len(SCHEME) :].strip())
        if found is None:
            raise self._unauthenticated(peer, call)
        return found

    def _find(self, token: str) -> Token | None:
        found = self._tokens.find(token, self._clock())
        if found is None and token.startswith(PREFIX) and self.look():
            found = self._tokens.find(token, self._clock())
        return found

    def _unauthenticated(self, peer: Peer, call: Call | None = None, reason: str = REFUSED) -> CallError:
        self.denied[Code.UNAUTHENTICATED.name] += 1
        if self._audit is not None:
            facts = {"who": peer.identity.name, "how": peer.identity.how, "peer": str(peer)}
            self._audit.put("unauthenticated", facts | (_about(call) if call is not None else {}))
        return CallError(Code.UNAUTHENTICATED, reason, started=False)

    def _put(self, verdict: str, call: Call, who: Identity, why: Verdict) -> None:
        if self._audit is not None:
            by = call.peer.identity.name
            facts = {"who": who.name, "how": who.how, "peer": str(_came_from(call))}
            facts |= {"by": by} if by != who.name else {}
            self._audit.put(verdict, {**facts, **_about(call), "rule": why.place})


def _came_from(call: Call) -> Peer:
    """Whence it comes: what a handler calls in this process comes from where the call came that it serves. So what came
    over a plain link came over a plain link.
    """
    outer = running.get()
    return outer.peer if call.peer is IN_PROCESS and outer is not None else call.peer


def _known(peer: Peer, token: Token) -> Peer:
    return Peer(peer.endpoint, peer.uid, token.identity, token=token.digest)


def _about(call: Call) -> dict[str, Any]:
    about = {"service": call.contract.protocol.name, "message": call.message.name}
    given = call.metadata.get(CALL_ID_KEY, b"")[:64].decode("ascii", "replace")
    return about | ({"call": given} if given.isprintable() and given else {})
