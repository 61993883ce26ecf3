"""Where a call wants to go, if it says so itself. Empty for nearly all calls: then the configuration decides."""

from typing import Final, NamedTuple

NODE_KEY: Final = "spl-node"
"""Metadata of an answer, put there by a channel over several nodes if it was asked to: the node that gave it."""

NOT_ASKED_FOR: Final = "not what was asked for"
"""Why a node is left out that a call did not name, in the attempts of its error."""


class Route(NamedTuple):
    """The wishes of one call among the nodes that serve its service. A server in this process has none to choose.

    `policy` is one of `config.Policy`. `key` is what a sticky call stays with. `to` is one node: its id, a beginning
    of that which only one has, or an endpoint as it is written. `pin` is the wire fingerprint that the node's
    contract must have, as hexadecimal digits (a beginning of at least 8 will do). `hedge` is how many seconds after the
    first a second copy goes to another node, if there is no answer by then; only messages that are declared
    idempotent may be hedged. `tell`: the call's `answer_metadata` is to say under NODE_KEY which node answered.
    """

    policy: str | None = None
    key: bytes | None = None
    to: str | None = None
    pin: str | None = None
    hedge: float | None = None
    tell: bool = False


ANY = Route()
"""No wishes."""
