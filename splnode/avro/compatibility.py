"""May a caller that speaks one protocol call a server that speaks another: per message, and why not.

A request is written by the caller and read by the server, a response and a declared error the other way round. A
message fits if both can be read; an error that the caller does not know never keeps a call from being made. What
decides is the resolution of splnode.avro.resolution, so the verdict is what a call would meet.

Source: Apache Avro 1.12 specification, "Schema Resolution", "Protocol Declaration".
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from splnode.avro.fingerprint import canonical_form
from splnode.avro.protocol import Message, Protocol
from splnode.avro.resolution import described, read_plan
from splnode.avro.schema import Schema
from splnode.errors import SchemaError

Fit = Literal["same", "resolved", "misfit"]


class Verdict(NamedTuple):
    """Whether a message can be called. `same`: the same bytes; `resolved`: they differ, and can be read; `misfit`.

    `reasons` say for a misfit where and why, with the writer's type and the reader's; `notes` what else the caller
    meets: errors that it cannot read as its own.
    """

    fit: Fit
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether it can be called."""
        return self.fit != "misfit"

    def __str__(self) -> str:
        return "; ".join(self.reasons) if self.reasons else self.fit


class Change(NamedTuple):
    """A message of an old and a new version of a protocol: old callers of a new server, new callers of an old one.

    Each is None where the caller's version has no such message.
    """

    old_calls_new: Verdict | None
    new_calls_old: Verdict | None


SAME = Verdict("same")


def message_verdict(caller: Protocol, server: Protocol, name: str) -> Verdict:
    """Whether `caller` may call the message `name` of `server`."""
    theirs, own = caller.messages.get(name), server.messages.get(name)
    if theirs is None:
        return Verdict("misfit", (f"the caller's {caller.name} has no message {name}",))
    if own is None:
        return Verdict("misfit", (f"the server's {server.name} has no message {name}",))
    if caller == server:
        return SAME
    reasons = _unread(theirs.request, own.request, "request")
    if not theirs.one_way:
        reasons += _unread(own.response, theirs.response, "response")
    if reasons:
        return Verdict("misfit", reasons)
    return Verdict("same" if _same(theirs, own) else "resolved", (), _strange_errors(theirs, own))


def verdicts(caller: Protocol, server: Protocol) -> Mapping[str, Verdict]:
    """The verdict on each message that the caller's protocol declares, by name."""
    return {name: message_verdict(caller, server, name) for name in caller.messages}


def changes(old: Protocol, new: Protocol) -> Mapping[str, Change]:
    """What becomes of each message, of either version, when `new` takes the place of `old`; by name."""
    forward, backward = verdicts(old, new), verdicts(new, old)
    return {name: Change(forward.get(name), backward.get(name)) for name in dict.fromkeys((*forward, *backward))}


def schema_reasons(writer: Schema, reader: Schema) -> tuple[str, ...]:
    """Why nothing that `writer` wrote can be read as `reader`: a path and both sides each; empty if it can."""
    try:
        read_plan(writer, reader)
    except SchemaError as error:
        return error.reasons
    return ()


def _unread(writer: Schema, reader: Schema, part: str) -> tuple[str, ...]:
    return tuple(_placed(part, reason) for reason in schema_reasons(writer, reader))


def _placed(part: str, reason: str) -> str:
    """`request.order.count: ...`; a reason without a path is about the whole part."""
    path, colon, _ = reason.partition(": ")
    return f"{part}.{reason}" if colon and " " not in path else f"{part}: {reason}"


def _same(theirs: Message, own: Message) -> bool:
    pairs = ((theirs.request, own.request), (theirs.response, own.response), (theirs.errors, own.errors))
    return theirs.one_way == own.one_way and all(canonical_form(one) == canonical_form(two) for one, two in pairs)


def _strange_errors(theirs: Message, own: Message) -> tuple[str, ...]:
    """Errors of the server that the caller gets as they are, and not as one of its own."""
    declared = theirs.errors.branches[1:]
    return tuple(
        f"the server's {described(error)} is no error that the caller declares"
        for error in own.errors.branches[1:]
        if all(schema_reasons(error, each) for each in declared)
    )
