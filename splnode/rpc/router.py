"""Here or elsewhere: a Channel that passes each call to the one who serves its protocol."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from splnode.errors import CallError, Code
from splnode.identity import Identity
from splnode.rpc.call import IN_PROCESS, Call, Peer
from splnode.rpc.channel import Channel, track_of
from splnode.rpc.guard import Guard
from splnode.rpc.handler import Inline
from splnode.rpc.route import ANY
from splnode.wire.message import Contract, ServerCall
from splnode.wire.track import Track, make_track

KEPT: Final = 10_000
"""Identities of which it is known whether they may call everything."""


class Router:
    """Chooses by the full name of the caller's protocol. A server of this process is one of the routes.

    Routes may be added and removed while calls run; those that run go on. `close` closes every route. What has no
    route goes to `elsewhere`, where there is such a channel; whoever made that closes it. So do calls that name another
    place than this one: `here` says whether a call that names one may be answered here. The `guard` is asked about
    every call before it goes on.
    """

    def __init__(self, routes: Mapping[str, Channel] | None = None) -> None:
        self._routes = dict(routes or {})
        self._elsewhere: Channel | None = None
        self.here: Callable[[Call], bool] = lambda _call: True
        self.guard: Guard | None = None
        self._given: dict[str, dict[str, Inline]] = {}
        self._lets: dict[bytes, bool] = {}
        self._tracks: WeakKeyDictionary[Contract, Track] = WeakKeyDictionary()

    def obey(self, guard: Guard) -> None:
        """From now on asks the guard, which is nobody else's: what it says may change while calls run."""
        self.guard = guard
        guard.changed = self.withdraw
        self.withdraw()

    @property
    def elsewhere(self) -> Channel | None:
        """Where calls go that have no route."""
        return self._elsewhere

    @elsewhere.setter
    def elsewhere(self, channel: Channel | None) -> None:
        self._elsewhere = channel
        self._lead()

    @property
    def services(self) -> tuple[str, ...]:
        """The full names that have a route, in the order they came."""
        return tuple(self._routes)

    def add(self, service: str, channel: Channel) -> None:
        """Sends calls of `service` to `channel` from now on."""
        self._withdraw(service)
        self._routes[service] = channel
        self._lead()

    def remove(self, service: str) -> Channel | None:
        """Forgets a route and gives its channel, which the caller closes."""
        self._withdraw(service)
        channel = self._routes.pop(service, None)
        self._lead()
        return channel

    def track(self, contract: Contract) -> Track | None:
        """Where clients may put calls that have no route, and that the guard need not see."""
        track = self._tracks.get(contract)
        if track is None:
            track = self._tracks[contract] = make_track()
            self._lead()
        return track

    def call(self, call: Call) -> Coroutine[Any, Any, object]:
        """Passes the call on. CallError(UNAVAILABLE), at once, says which services there are."""
        channel = self._routes.get(call.contract.protocol.name)
        if channel is None or (call.route is not ANY and not self.here(call)):
            channel = self._elsewhere
        if channel is None:
            known = ", ".join(self._routes) or "none"
            text = f"no endpoint serves {call.contract.protocol.name}; this node has {known}"
            raise CallError(Code.UNAVAILABLE, text, started=False)
        guard = self.guard
        # What this node calls by itself brings nothing that would have to be looked at.
        if guard is not None and (call.metadata or call.peer is not IN_PROCESS or guard.watchful):
            guard.check(call, here=channel is not self._elsewhere)
        return channel.call(call)

    def judge(self, call: Call) -> None:
        """Asks the guard about a call that leaves by another way than this."""
        if self.guard is not None:
            self.guard.check(call, here=False)

    def handler(self, codec: ServerCall, peer: Peer) -> Inline | None:
        """How the message may be run where it was received, if its route is a server that lets it; else `call`.

        What it gives is withdrawn when the route changes, or what the guard says.
        """
        service, message = codec.contract.protocol.name, codec.message.name
        if self.guard is not None and not self.guard.lets(peer, service, message):
            return None
        given = self._given.setdefault(service, {})
        if message not in given:
            find = getattr(self._routes.get(service), "handler", None)
            found: Inline | None = find(codec) if find is not None else None
            if found is None:
                return None
            given[message] = found.copy()
        return given[message]

    def lets(self, who: Identity) -> bool:
        """Whether this identity may call every message of every route: then calls for it need not be looked at.

        It is so until a handler that was given is withdrawn, or another route is added.
        """
        if self.guard is None:
            return True
        found = self._lets.get(who.text)
        if found is None:
            if len(self._lets) >= KEPT:
                self._lets.clear()
            found = self._lets[who.text] = all(self._lets_call(self.guard, who, name) for name in self._routes)
        return found

    def _lets_call(self, guard: Guard, who: Identity, service: str) -> bool:
        contract = getattr(self._routes[service], "contract", None)
        if contract is None:
            return False
        peer = Peer("", identity=who)
        return all(guard.lets(peer, service, message) for message in contract.protocol.messages)

    def withdraw(self) -> None:
        """Whatever `handler` gave is to be asked for anew: the guard says something else."""
        self._lets.clear()
        for service in tuple(self._given):
            self._withdraw(service)
        self._lead()

    def _withdraw(self, service: str) -> None:
        self._lets.clear()
        for handler in self._given.pop(service, {}).values():
            handler.withdrawn = True

    def _lead(self) -> None:
        """From the tracks of clients to those of `elsewhere`, as far as calls may go there right now."""
        seen = self.guard is not None and self.guard.watchful
        for contract, track in self._tracks.items():
            away = self._elsewhere is not None and not seen and contract.protocol.name not in self._routes
            found = track_of(self._elsewhere, contract) if away and self._elsewhere is not None else None
            track.lines = (found,) if found is not None else ()

    async def close(self) -> None:
        """Closes the routes, newest first: what was added later may call what was there before."""
        while self._routes:
            service, channel = self._routes.popitem()
            self._withdraw(service)
            await channel.close()
