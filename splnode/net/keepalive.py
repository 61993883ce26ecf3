"""When a connection is asked whether its peer is still there, and when it is given up. No clock, no socket.

| silent for | and | then |
|---|---|---|
| `keepalive_active` | calls are in flight | a ping |
| `keepalive_idle` | none is | a ping |
| `keepalive_timeout` after a ping | nothing has come since | the end |

Every server knows pings: its answer to our handshake was one. Where replies come in order a ping would be answered
behind the calls, however long they take: there the calls' own deadlines are the measure, and the reply that is due for
one that was given up stands for the ping's.
"""

from typing import Final, NamedTuple

from splnode.config import ChannelsConfig

LEAST: Final = 0.01
"""Seconds between two looks."""


class Look(NamedTuple):
    """What is to be done: end it, for a `reason`; or look again after a `wait`, and `ping` before that or not."""

    wait: float
    """Seconds."""
    ping: bool = False
    reason: str = ""


class Keepalive:
    """One connection's, with the times of its settings. All moments are seconds of one clock, whichever."""

    __slots__ = ("_pinged", "_settings")

    def __init__(self, settings: ChannelsConfig) -> None:
        self._settings = settings
        self._pinged = 0.0  # when a ping was sent, or stood for, that is not answered yet

    def look(self, now: float, heard: float, *, calls: int, ordered: int = 0, ready: bool = True) -> Look:
        """What is to be done `now`, where the peer was last `heard` then, and somebody waits for so many `calls`.

        `ordered`: replies that are due, where they come in order, those of calls included that were given up. `ready`:
        the handshake is done.
        """
        settings, silence = self._settings, now - heard
        if self._pinged and heard < self._pinged:
            return Look(0.0, reason=f"no answer to a ping within {settings.keepalive_timeout:g} s")
        active = settings.keepalive_active
        allowed = active if ordered or calls else settings.keepalive_idle
        if silence < allowed or not ready:  # a call may begin meanwhile, and with it the shorter time
            return Look(max((active if silence < active else allowed) - silence, LEAST))
        self._pinged = now if not ordered or ordered > calls else 0.0
        return Look(max(settings.keepalive_timeout, LEAST), ping=not ordered)
