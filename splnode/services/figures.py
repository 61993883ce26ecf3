"""What a node counts of itself in this process, as families of metrics. Read when it is asked for, and kept nowhere."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from splnode.access.keeper import Keeper
from splnode.avro.codec import engine_used
from splnode.limits import Limits
from splnode.net.host import Host
from splnode.net.reached import OPEN_FILES
from splnode.observe import metrics
from splnode.observe.load import Gauge
from splnode.observe.metrics import Family
from splnode.rpc.admission import Admission
from splnode.rpc.tally import Tally

VITAL_SERVICES: Final = ("splnode.Health", "splnode.Reflection", "splnode.Metrics", "SPLNodeService")
"""Services that tell how a node is: they have places of their own, and are no work that it is judged by."""


class Figures:
    """Where the figures come from: the `tallies` of each service by message, and whoever else is here by now."""

    def __init__(self, admission: Admission) -> None:
        self.tallies: dict[str, Mapping[str, Tally]] = {}
        self.keeper: Keeper | None = None
        self.host: Host | None = None
        self._admission = admission

    def counted(self) -> list[Family]:
        """What was counted of the calls that came to this process."""
        found = [*metrics.calls(self.tallies), *metrics.places(self._admission.running, self._admission.waiting)]
        if self.keeper is not None:
            found += metrics.access(self.keeper.guard.denied, self.keeper.lost)
        if self.host is not None:
            found += _traffic(self.host)
            found.append(metrics.tasks(len(asyncio.all_tasks())))
        return found

    def gauge(self, allowed: Callable[[], int], processes: int) -> Gauge:
        """What others are told of this process that share their calls out by load: of the services that do work.

        `allowed` gives the calls that may run at the same time; `processes` share the calls of the node.
        """

        def tallies() -> Iterable[Tally]:
            return (
                tally for name, each in self.tallies.items() if name not in VITAL_SERVICES for tally in each.values()
            )

        return Gauge(tallies, lambda: self._admission.running, allowed, processes=processes)


def settled(limits: Limits, certificate: float | None) -> list[Family]:
    """What is the same for as long as the node runs, in each of its processes.

    `certificate` is when that of the node ends, in seconds since 1970; None: it has none.
    """
    version = getattr(sys.modules["splnode"], "__version__", "")  # the face is not imported from below
    built = metrics.build(str(version), engine_used())
    certified = [metrics.certificate(certificate)] if certificate is not None else []
    named = {name: float(value) for name, value in vars(limits).items()}
    return [built, *metrics.bounds(named, [OPEN_FILES]), *certified]


def _traffic(host: Host) -> list[Family]:
    found = metrics.traffic(len(host.connections), host.accepted, host.refused, *host.traffic)
    found += metrics.held(host.greeting, host.held, len(host.clients), len(host.rates))
    return [*found, metrics.met(host.met), metrics.unshaken(host.unshaken)]
