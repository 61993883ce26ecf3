"""Every service of other nodes: a Channel that keeps a balancer for each contract that is called."""

from collections.abc import Coroutine
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog

from splnode.balance.balancer import Balancer
from splnode.balance.member import Dial
from splnode.balance.pool import Misfit
from splnode.config import BalanceConfig, ChannelsConfig, Config, EjectionConfig, RetryConfig
from splnode.discovery.resolver import Instance, Resolver
from splnode.discovery.verdicts import Verdicts
from splnode.errors import CallError, Code
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.net.channel import EndpointChannel
from splnode.net.securing import Securing
from splnode.rpc.call import Call, circle, serving
from splnode.wire.message import Contract
from splnode.wire.metadata import HOPS_KEY
from splnode.wire.track import Track, make_track

MOST_HOPS: Final = 16
"""Nodes in a row that may call one another for the sake of one call: more than that is a circle."""

MOST: Final = 256
"""Contracts of one process that are called at a time. They may be those of strangers, whose calls are passed on."""

log = structlog.get_logger("splnode.balance")


class Elsewhere:
    """The services of other nodes, as `resolver` finds them. Whoever made it closes it, and the resolver after it.

    Contracts of the same text share their connections, as long as they ask for no classes of their own.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        misfit: Misfit = lambda _instance, _contract, _message: "",
        channels: ChannelsConfig = ChannelsConfig(),  # noqa: B008 - frozen
        balance: BalanceConfig = BalanceConfig(),  # noqa: B008 - frozen
        ejection: EjectionConfig = EjectionConfig(),  # noqa: B008 - frozen
        retry: RetryConfig = RetryConfig(),  # noqa: B008 - frozen
        limits: Limits = DEFAULT_LIMITS,
        tls: Securing | None = None,
    ) -> None:
        self._tls = tls
        self._resolver = resolver
        self._misfit = misfit
        self._channels = channels
        self._balance = balance
        self._ejection = ejection
        self._retry = retry
        self._limits = limits
        self._balancers: dict[str | Contract, Balancer] = {}
        self._tracks: WeakKeyDictionary[Contract, Track] = WeakKeyDictionary()
        self._closed = False

    @property
    def balancers(self) -> tuple[Balancer, ...]:
        """Those that there are: one for each contract that was called."""
        return tuple(self._balancers.values())

    def call(self, call: Call) -> Coroutine[Any, Any, object]:
        """Carries the call to a node that serves its protocol, as `Balancer.call` does. Cancelling is safe.

        CallError(FAILED_PRECONDITION): the nodes call one another in a circle.
        """
        contract = call.contract
        if HOPS_KEY in call.metadata or serving() is not None:
            _count_hop(call)
        key = _key(contract)
        return (self._balancers.get(key) or self._add(key, contract)).call(call)

    def track(self, contract: Contract) -> Track | None:
        """Where clients of that very contract may put their calls, once it was called."""
        track = self._tracks.get(contract)
        if track is None:
            track = self._tracks[contract] = make_track()
            self._lead(contract, self._balancers.get(_key(contract)))
        return track

    def change(self) -> None:
        """More is known of who fits what."""
        for balancer in self._balancers.values():
            balancer.pool.change()

    async def close(self) -> None:
        """Calls in flight fail with UNAVAILABLE, new ones too."""
        self._closed = True
        for track in self._tracks.values():
            track.lines = ()
        while self._balancers:
            _, balancer = self._balancers.popitem()
            await balancer.close()

    def _add(self, key: str | Contract, contract: Contract) -> Balancer:
        if self._closed:
            raise CallError(Code.UNAVAILABLE, "this node is closing", started=False)
        if len(self._balancers) >= MOST:
            self._balancers = {key: each for key, each in self._balancers.items() if each.pool.active}
        if len(self._balancers) >= MOST:
            text = f"{MOST} services, or versions of them, are called on other nodes: there is no room for one more"
            raise CallError(Code.RESOURCE_EXHAUSTED, text, retry_after=1.0, started=False)
        balancer = Balancer(
            contract,
            self._resolver,
            self._dial(contract),
            misfit=self._misfit,
            balance=self._balance,
            ejection=self._ejection,
            retry=self._retry,
        )
        self._balancers[key] = balancer
        self._lead(contract, balancer)
        return balancer

    def _lead(self, contract: Contract, balancer: Balancer | None) -> None:
        """From the track of a contract to that of its balancer, if it has one of its own."""
        track, found = self._tracks.get(contract), balancer.track(contract) if balancer is not None else None
        if track is not None and found is not None:
            track.lines = (found,)

    def _dial(self, contract: Contract) -> Dial:
        return lambda endpoint, changed: EndpointChannel(
            endpoint, contract, settings=self._channels, limits=self._limits, changed=changed, tls=self._tls
        )


def open_elsewhere(config: Config, resolver: Resolver, verdicts: Verdicts, tls: Securing | None = None) -> Elsewhere:
    """All services of others, as `resolver` finds them and `verdicts` judges what they announce.

    Whoever opens it closes it, before those two.
    """

    def misfit(instance: Instance, contract: Contract, message: str) -> str:
        lie = verdicts.lie(instance, contract.protocol.name)
        return lie or verdicts.misfit(contract.protocol, instance, message)

    elsewhere = Elsewhere(
        resolver,
        misfit=misfit,
        channels=config.channels,
        balance=config.balance,
        ejection=config.ejection,
        retry=config.retry,
        limits=config.limits,
        tls=tls,
    )
    verdicts.changed = elsewhere.change
    return elsewhere


def _key(contract: Contract) -> str | Contract:
    return contract if contract.results or contract.errors else contract.protocol.text


def _count_hop(call: Call) -> None:
    """One node more. A call that a handler makes in its own process keeps the count: the circle may lead through it."""
    text = call.metadata.get(HOPS_KEY, b"0")
    hops = int(text) + 1 if text.isdigit() and len(text) < 4 else MOST_HOPS
    if hops > MOST_HOPS:
        served = serving()
        log.warning("circle cut", call=call.name, by=served.name if served is not None else "", hops=MOST_HOPS)
        raise circle(call.name, MOST_HOPS)
    call.metadata = {**call.metadata, HOPS_KEY: b"%d" % hops}
