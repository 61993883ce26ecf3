"""What a caller writes, `client.reserve("A1", count=2)`, as a message and its parameters by name."""

import keyword
from collections.abc import Mapping
from typing import Any

from splnode.avro.protocol import Message, Protocol
from splnode.errors import CallError, Code


def find_message(protocol: Protocol, name: str) -> Message:
    """The message of that name. CallError(UNIMPLEMENTED) names those that are there."""
    message = protocol.messages.get(name)
    if message is None:
        raise unknown(protocol, name)
    return message


def message_of(protocol: Protocol, attribute: str) -> Message:
    """The message that an attribute means; one named as a Python keyword is written with a `_` behind it.

    AttributeError.
    """
    bare = attribute.rstrip("_")
    message = protocol.messages.get(bare if keyword.iskeyword(bare) else attribute)
    if message is None:
        raise AttributeError(str(unknown(protocol, attribute)))
    return message


def unknown(protocol: Protocol, name: str) -> CallError:
    """The error of a call of a message that the protocol does not have."""
    has = ", ".join(protocol.messages) or "none"
    return CallError(Code.UNIMPLEMENTED, f"{protocol.name} has no message {name!r}; it has {has}", started=False)


def by_position(
    message: str, names: tuple[str, ...], args: tuple[Any, ...], named: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters by name, of which some were given by position. TypeError for too many, or one given twice."""
    if len(args) > len(names):
        raise TypeError(f"{message} takes {len(names)} parameters ({', '.join(names)}), {len(args)} were given")
    params = dict(zip(names, args, strict=False))
    twice = [name for name in named if name in params]
    if twice:
        raise TypeError(f"{message}: {twice[0]!r} is given by position and by name")
    return {**params, **named}
