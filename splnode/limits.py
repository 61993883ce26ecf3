"""What hostile bytes, values and schemas may cost. Every number is a default of `[limits]` in the config.

The numbers come from shared experience with Avro peers: the largest honest message seen is far below
each of them, and the bombs that are known (deep records, `array<null>` counts, doubling records) end
within a few milliseconds.
"""

import msgspec


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Named limits. Sizes are bytes, counts are counts; each error that one causes names it."""

    message_bytes: int = 4 * 1024 * 1024
    """The largest request or response, and the longest bytes, string or fixed within one."""
    message_buffers: int = 1024
    """Buffers that one framed message may be cut into."""
    protocol_bytes: int = 256 * 1024
    """The longest schema or protocol text that a peer may send."""
    depth: int = 64
    """Records, arrays and maps inside one another in a datum (unions do not count)."""
    nodes: int = 1_000_000
    """Values in one datum, nulls and empty records too: what 5 bytes of `array<null>` may unfold to."""
    schema_depth: int = 64
    """Levels of JSON in a schema or protocol text."""
    schema_branches: int = 256
    """Branches of one union."""
    client_protocols: int = 256
    """Protocols of clients kept in memory (least recently used go first)."""
    calls_per_connection: int = 1000
    """Calls in flight on one connection; the next one waits in the socket."""
    metadata_entries: int = 128
    """Entries in the metadata of one call."""
    handshake_seconds: float = 5.0
    """Time from accepting a connection to its first whole message."""


DEFAULT_LIMITS = Limits()
