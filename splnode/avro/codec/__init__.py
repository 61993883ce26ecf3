"""Bytes to values and back: one plan, two engines behind one interface.

`encoder` and `decoder` make the codec of a schema, or of a pair of schemas; keep what they give, since making
one costs as much as many calls of it. `conformer` is for calls that stay in the process.

What a value looks like: null None; boolean bool; int and long int; float and double float (an int is taken);
bytes and fixed bytes (bytearray and memoryview are taken); string str; enum str (an enum.Enum member is
taken); array list (a tuple is taken); map dict; record dict, or the msgspec.Struct that `into` names (any
Struct is taken); union its branch's value; the logical types as `avro.logical` has them. The branch of a union
is chosen by the value's type (the table of `plan.WriteNode`), or named with `Branch`.
"""

import os
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, Protocol

from splnode.avro import resolution  # a module, not its names: it imports codec.plan, and so this one, first
from splnode.avro.codec.plan import Branch, ReadNode
from splnode.avro.schema import Schema
from splnode.errors import ConfigError
from splnode.limits import DEFAULT_LIMITS, Limits

__all__ = ["Branch", "Decoder", "Encoder", "conformer", "decoder", "encoder", "engine_used", "engines"]

Into = Any
"""A msgspec.Struct class (or a type made of such), or for a record at the top such a type for each field."""


class Encoder(Protocol):
    """Writes the values of one schema."""

    def encode(self, value: object) -> bytes:
        """The value's bytes. EncodeError, LimitExceeded."""

    def encode_parts(self, value: object) -> bytes | list[bytes]:
        """The same, in parts where it holds large bytes: one that cannot change is a part as it is, not copied."""


class Decoder(Protocol):
    """Reads the values of one writer's schema for one reader's."""

    def decode(self, data: bytes | bytearray | memoryview, start: int = 0) -> tuple[Any, int]:
        """The datum that begins at `start`, and the place behind it. DecodeError, LimitExceeded."""

    def locate(self, data: bytes, start: int) -> tuple[int, int] | None:
        """For a datum of which only the beginning is there: the bytes or string in which it is cut off, as the place
        where its bytes begin and its size. None where it is cut off elsewhere, or `decode_apart` would gain nothing.
        """

    def decode_apart(self, data: bytes, start: int, at: int, part: bytes) -> tuple[Any, int]:
        """The datum of `data` with `part` inserted at `at`, a bytes or string that is longer than what is behind it;
        a bytes value is `part` itself. The place behind the datum counts without it.

        DecodeError, LimitExceeded: as of `decode`, or `part` is no whole value there. ValueError: it is too short.
        """


def encoder(schema: Schema, *, limits: Limits = DEFAULT_LIMITS, engine: str | None = None) -> Encoder:
    """What writes values of the schema. May be used by one thread at a time."""
    made: Encoder = _engine(engine).Encoder(resolution.write_plan(schema), limits)
    return made


def decoder(
    writer: Schema,
    reader: Schema | None = None,
    *,
    into: Into = None,
    limits: Limits = DEFAULT_LIMITS,
    engine: str | None = None,
) -> Decoder:
    """What reads as `reader` (by default the writer's own) what was written as `writer`.

    SchemaError, with the paths and both sides, if the two do not match or `into` does not fit the reader's.
    """
    made: Decoder = _engine(engine).Decoder(_bound(writer, reader, into), limits)
    return made


def conformer(
    writer: Schema,
    reader: Schema | None = None,
    *,
    into: Into = None,
    limits: Limits = DEFAULT_LIMITS,
    engine: str | None = None,
) -> Callable[[object], Any]:
    """A function that gives what decoding a value encoded would give, with the same errors: a checked copy."""
    made = _engine(engine).Conformer(resolution.write_plan(writer), _bound(writer, reader, into), limits)
    conform: Callable[[object], Any] = made.conform
    return conform


def engines() -> tuple[str, ...]:
    """The engines that can be used here, the fastest first."""
    return ("plain",) if _native_engine() is None else ("native", "plain")


def engine_used() -> str:
    """The engine of codecs that name none: SPLNODE_ENGINE's, else the fastest. ConfigError if it is not there."""
    name = os.environ.get("SPLNODE_ENGINE") or engines()[0]
    _engine(name)
    return name


def _bound(writer: Schema, reader: Schema | None, into: Into) -> ReadNode:
    plan = resolution.read_plan(writer, reader)
    if into is None:
        return plan
    from splnode.avro.codec.binding import bind  # noqa: PLC0415 - with msgspec, which a short program need not load

    return bind(plan, into)


@cache
def _native_engine() -> ModuleType | None:
    try:
        from splnode.avro.codec import _native as native  # noqa: PLC0415 - C, built or not
    except ImportError:
        return None
    return native


@cache
def _plain_engine() -> ModuleType:
    from splnode.avro.codec import plain  # noqa: PLC0415 - ten modules, which nobody needs beside the native one

    return plain


def _engine(name: str | None) -> ModuleType:
    """The engine of that name, else the one SPLNODE_ENGINE names, else the fastest."""
    name = name or os.environ.get("SPLNODE_ENGINE")
    native = _native_engine() if name != "plain" else None
    if native is not None and name in (None, "", "native"):
        return native
    if name in (None, "", "plain"):
        return _plain_engine()
    known = ", ".join(engines())
    raise ConfigError(f"the codec engine {name!r} is not there (SPLNODE_ENGINE); there are: {known}")
