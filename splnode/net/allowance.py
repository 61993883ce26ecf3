"""What the calls of one peer are let in by, before they count against the places of the node (`rpc.admission`)."""

from typing import Final

from splnode.errors import CallError, Code
from splnode.net.ledger import Scales
from splnode.net.rates import Meter, Rates
from splnode.rpc.call import Call, Peer

RETRY_AFTER: Final = 0.5
"""Seconds that a call is asked to wait where large ones run, or answers wait to be read."""


class Allowance:
    """That of `peer`, who comes from `address`. `meter` is what it may still send; None where that is not bounded."""

    __slots__ = ("_peer", "_rates", "meter", "scales")

    def __init__(self, scales: Scales, rates: Rates, peer: Peer, address: str = "") -> None:
        self.scales = scales
        self.meter: Meter | None = rates.of(peer, address)
        self._rates = rates
        self._peer = peer

    def refusal(self, call: Call, weight: int) -> CallError | None:
        """None, and the call is paid for and weighed, until `scales.take(weight)`; or why it is not begun."""
        meter = self.meter
        if meter is not None:
            name = call.identity.name
            if name != self._peer.identity.name:  # it is for somebody else, or has proved who it is for
                meter = self._rates.named(name)
            if meter is not None and (refusal := meter.refusal()) is not None:
                return refusal
        if not weight or self.scales.put(weight):
            return None
        self.met("held_bytes")
        half = self.scales.most // 2
        text = f"large calls weigh all that they may here, twice held_bytes (limit held_bytes = {half})"
        return CallError(Code.RESOURCE_EXHAUSTED, text, retry_after=RETRY_AFTER, started=False)

    def unread(self) -> CallError:
        """What a call ends with while too much waits for its peer to read."""
        self.met("connection_bytes")
        most = self._rates.limits.connection_bytes
        text = f"answers wait for you to read them (limit connection_bytes = {most})"
        return CallError(Code.RESOURCE_EXHAUSTED, text, retry_after=RETRY_AFTER)

    def met(self, limit: str) -> None:
        """Counts that a limit was met."""
        self._rates.reached.count(limit)
