"""What hostile bytes, values and schemas may cost. Every number is a default of `[limits]` in the config.

The numbers come from shared experience with Avro peers: the largest honest message seen is far below
each of them, and the bombs that are known (deep records, `array<null>` counts, doubling records) end
within a few milliseconds.
"""

from typing import Annotated, NamedTuple

from splnode.frozen import Frozen


class Bounds(NamedTuple):
    """What a config may set a number to, in msgspec's words: from `ge` on, or above `gt`, and up to `le`."""

    le: float
    ge: float | None = None
    gt: float | None = None


Count = Annotated[int, Bounds(ge=1, le=2**31 - 1)]
"""A size or a number of things: a frame's length word and most languages' arrays end at 2^31-1."""
Levels = Annotated[int, Bounds(ge=1, le=512)]
"""A nesting depth. An engine recurses once a level, and 512 levels fit the smallest stack in use."""


class Limits(Frozen):
    """Named limits. Sizes are bytes, counts are counts; each error that one causes names it."""

    message_bytes: Count = 4 * 1024 * 1024
    """The largest request or response, and the longest bytes, string or fixed within one."""
    message_buffers: Count = 1024
    """Buffers that one framed message may be cut into."""
    protocol_bytes: Count = 256 * 1024
    """The longest schema or protocol text that a peer may send."""
    depth: Levels = 64
    """Records, arrays and maps inside one another in a datum (unions do not count)."""
    nodes: Count = 1_000_000
    """Values in one datum, nulls and empty records too: what 5 bytes of `array<null>` may unfold to."""
    schema_depth: Levels = 64
    """Levels of JSON in a schema or protocol text."""
    schema_branches: Count = 256
    """Branches of one union."""
    client_protocols: Count = 256
    """Protocols of clients kept in memory (least recently used go first)."""
    calls_per_connection: Count = 1000
    """Calls in flight on one connection; the next one waits in the socket."""
    held_bytes: Count = 64 * 1024 * 1024
    """What all peers together may make the node hold: parts of messages, large calls that run, answers not read."""
    metadata_entries: Count = 128
    """Entries in the metadata of one call."""
    handshake_seconds: Annotated[float, Bounds(gt=0, le=3600)] = 5.0
    """Time from accepting a connection to its first whole message."""


DEFAULT_LIMITS = Limits()
