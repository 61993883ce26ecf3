"""What hostile bytes, values, schemas and peers may cost. Every number is a default of `[limits]` in the config.

The numbers come from shared experience with Avro peers: the largest honest message seen is far below
each of them, and the bombs that are known (deep records, `array<null>` counts, doubling records) end
within a few milliseconds.

Of a node of several processes each has these limits for itself; but what is `connections` and `handshakes` in all is
the whole node's, and shared out among them (`Limits.part`).
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
Rate = Annotated[float, Bounds(ge=0, le=1e9)]
"""So many a second; 0: any number."""


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
    """What the values of one datum may weigh, which a few bytes may unfold to. A number is 1 node, bytes 2, a string 3,
    a value of a logical type 6, an array 2, a map 4 and 3 for each key, a record 4 or more and its fields; a node is
    some 45 bytes of memory and 100 ns. (the table is `avro.charges`')"""
    schema_depth: Levels = 64
    """Levels of JSON in a schema or protocol text."""
    schema_branches: Count = 256
    """Branches of one union."""
    client_protocols: Count = 256
    """Protocols of clients kept in memory (least recently used go first)."""
    calls_per_connection: Count = 1000
    """Calls in flight on one connection; the next one waits in the socket."""
    held_bytes: Count = 16 * 1024 * 1024
    """What all peers together may make the node hold of messages that have not ended, and answers not read; as much
    again for TLS handshakes under way, and twice that for large calls that run. Two or three of the largest messages
    are read at a time, while others wait in their sockets; who does harm can make a node grow by less than 50 MB."""
    connection_bytes: Count = 8 * 1024 * 1024
    """The same for one connection: half of what all may, and two of the largest messages. Further large calls wait in
    the socket, further answers are errors that say so. One message may always be as large as `message_bytes` says."""
    metadata_entries: Count = 128
    """Entries in the metadata of one call."""
    metadata_bytes: Count = 64 * 1024
    """The metadata of one call: eight times what gRPC allows by default."""
    header_bytes: Count = 64 * 1024
    """Request line and headers of one HTTP request: eight times what web servers allow by default."""
    handshake_seconds: Annotated[float, Bounds(gt=0, le=3600)] = 5.0
    """Time from accepting a connection to its first whole message, TLS included."""
    handshakes: Count = 2048
    """Connections that have sent no whole message yet, TLS included; for one more the oldest goes. Twice what the
    kernel keeps for a listener, so that none goes of those who come at one moment."""
    handshakes_per_address: Count = 256
    """The same from one address: a peer that comes back with all its connections at once has fewer."""
    connections: Count = 16_384
    """Connections in all; the limit of open files may be lower, and counts then. Idle they hold some 100 MB."""
    connections_per_address: Count = 1024
    """Connections from one address: an IPv4 address, the /64 of an IPv6 address, the uid at a Unix socket. Loopback,
    and the node's own user and root at a Unix socket, are everybody on this host, and have no such limit."""
    idle_seconds: Annotated[float, Bounds(gt=0, le=2_678_400)] = 86_400.0
    """Time without a byte and without a call that runs, after which a connection is closed. Pings count as bytes: who
    sends them wants the connection. A day, since instruments are left alone over night by clients that send none."""
    calls_per_second: Rate = 0.0
    """Calls of one identity (its name; where it has none of its own, its address), at most a second's worth at once."""
    bytes_per_second: Rate = 0.0
    """Bytes that come from one identity, at most a second's worth at once."""

    def part(self, processes: int) -> "Limits":
        """What one of so many processes has of them, which share the connections of a node."""
        return self.replace(
            connections=-(-self.connections // processes), handshakes=-(-self.handshakes // processes)
        )  # rounded up


DEFAULT_LIMITS = Limits()
