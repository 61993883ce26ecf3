"""The errors that a protocol declares, to bytes and back: the index of the error union, and the error.

A server of another version may declare others, under other names: see `resolution`, which is asked error by error.
"""

from collections.abc import Callable, Mapping
from typing import Any

from splnode.avro.codec import decoder, encoder
from splnode.avro.protocol import Message
from splnode.avro.schema import Schema
from splnode.errors import CallError, Code, DeclaredError, DecodeError, EncodeError, SchemaError
from splnode.limits import Limits
from splnode.wire.primitive import write_long

Decode = Callable[[bytes, int], tuple[Any, int]]
Encode = Callable[[Any], bytes]


class ErrorWriter:
    """Declared errors of one message, to bytes: the index of the union and the error."""

    __slots__ = ("_branches", "_classes", "_message")

    def __init__(self, message: Message, classes: Mapping[str, type[DeclaredError]], limits: Limits) -> None:
        self._message = message
        self._classes = classes
        self._branches: dict[str, tuple[bytes, Encode]] = {}
        for index, branch in reversed(list(enumerate(message.errors.branches))[1:]):
            entry = (write_long(index), encoder(branch, limits=limits).encode)
            self._branches[branch.label.rpartition(".")[2]] = entry
            self._branches[branch.label] = entry

    def encode(self, error: DeclaredError) -> bytes:
        """EncodeError where the message does not declare it, or its fields do not fit."""
        names = [error.schema_name, *(name for name, each in self._classes.items() if isinstance(error, each))]
        found = next((self._branches[name] for name in names if name in self._branches), None)
        if found is None:
            raise EncodeError(f"message {self._message.name} does not declare the error {error.schema_name}")
        return found[0] + found[1](error.value)


class ErrorReader:
    """Errors of one message of one server: what the index of its union means here. Made when first needed.

    `class_of` gives the class that stands for an error of our own.
    """

    __slots__ = ("_class_of", "_limits", "_made", "_own", "_theirs")

    def __init__(
        self, own: Message, theirs: Message, class_of: Callable[[Schema], type[DeclaredError]], limits: Limits
    ) -> None:
        self._own = own
        self._theirs = theirs
        self._class_of = class_of
        self._limits = limits
        self._made: dict[int, tuple[Decode, type[DeclaredError] | None]] = {}

    def read(self, index: int, data: bytes, start: int) -> tuple[CallError | DeclaredError, int]:
        """The declared error at this index, from 1 on, and the offset behind it. DataError for bytes that are none."""
        branches = self._theirs.errors.branches
        if not 0 < index < len(branches):
            raise DecodeError(f"index {index} in a union of {len(branches)} errors")
        made = self._made.get(index)
        if made is None:
            made = self._made[index] = self._make(branches[index])
        value, end = made[0](data, start)
        if made[1] is None or not isinstance(value, Mapping):
            label = branches[index].label
            return CallError(Code.UNKNOWN, f"{label}: {value!r:.1000}", remote=True), end
        # Not through __init__: a subclass may have one of its own, and fields may have any name.
        error = made[1].__new__(made[1], value)
        error.value = value
        return error, end

    def _make(self, theirs: Schema) -> tuple[Decode, type[DeclaredError] | None]:
        limits = self._limits
        for own in _likely(theirs, self._own.errors.branches[1:]):
            try:
                return decoder(theirs, own, limits=limits).decode, self._class_of(own)
            except SchemaError:
                continue
        return decoder(theirs, limits=limits).decode, None


def _likely(theirs: Schema, own: tuple[Schema, ...]) -> list[Schema]:
    """Our error types that the server's may be, the same full name first, then the short one, then an alias."""
    short = theirs.label.rpartition(".")[2]

    def distance(schema: Schema) -> int:
        if schema.label == theirs.label:
            return 0
        if schema.label.rpartition(".")[2] == short:
            return 1
        names = (alias.rpartition(".")[2] for alias in schema.aliases)
        return 2 if theirs.label in schema.aliases or short in names else 3

    ranked = sorted((distance(schema), place) for place, schema in enumerate(own))
    return [own[place] for rank, place in ranked if rank < 3]
