"""The plain engine: carries out the plans of `plan` in Python. It serves where the native one is not built.

It is also the measure of the native one: the same values, and the same class of error at the same place.

There are two ways through it. The functions of `read`, `write` and `conform` do everything, and say exactly what is
wrong. Once a plan was used a few times, or has a very large datum to read, Python source made for it (`source_read`,
`source_write`, `source_conform`) goes first, several times as fast; where that meets anything wrong or unusual it
gives up, and the functions do it again from the start.
"""

from collections.abc import Callable
from typing import Any, Final

from splnode.avro.codec.budget import Budget, check_size, too_deep
from splnode.avro.codec.conform import Conform, Measure, compile_conform
from splnode.avro.codec.pairing import as_written, pair_up
from splnode.avro.codec.plan import ReadNode, WriteNode
from splnode.avro.codec.read import compile_read
from splnode.avro.codec.source import AFTER
from splnode.avro.codec.source_conform import quick_conform
from splnode.avro.codec.source_read import quick_read
from splnode.avro.codec.source_write import quick_write
from splnode.avro.codec.write import compile_write
from splnode.errors import DecodeError, EncodeError, LimitExceeded
from splnode.limits import Limits

FEW: Final = 10_000
"""Nodes of a datum that is read at once by the functions, in some 3 ms; for a larger one the code pays at once."""


class Encoder:
    """Writes the values of one plan."""

    def __init__(self, plan: WriteNode, limits: Limits) -> None:
        self._plan = plan
        self._limits = limits
        self._write = compile_write(plan)
        self._quick: Callable[[Any], bytes] | None = None
        self._uses = 0

    def encode(self, value: object) -> bytes:
        """The value's bytes. EncodeError, LimitExceeded."""
        if self._quick is None:
            self._count()
        if self._quick is not None:
            try:
                data = self._quick(value)
                if len(data) <= self._limits.message_bytes:
                    return data
            except Exception:  # noqa: BLE001 - what is wrong, if anything, is said below
                pass
        return self._encode(value)

    def encode_parts(self, value: object) -> bytes | list[bytes]:
        """The value's bytes, always in one part: this engine copies large values too."""
        return self.encode(value)

    def _count(self) -> None:
        if self._uses == AFTER:
            self._quick = quick_write(self._plan, self._limits)
        self._uses += 1

    def _encode(self, value: object) -> bytes:
        out = bytearray()
        try:
            self._write(value, out, Budget(self._limits, self._plan.weight))
        except RecursionError:
            raise too_deep(self._limits) from None
        check_size(len(out), self._limits)
        return bytes(out)


class Decoder:
    """Reads the values of one plan."""

    def __init__(self, plan: ReadNode, limits: Limits) -> None:
        self._plan = plan
        self._limits = limits
        self._few = limits.replace(nodes=FEW) if limits.nodes > 10 * FEW else None
        self._read = compile_read(plan)
        self._quick: Callable[[bytes, int], tuple[Any, int]] | None = None
        self._uses = 0

    def decode(self, data: bytes | bytearray | memoryview, start: int = 0) -> tuple[Any, int]:
        """The datum that begins at `start`, and the place behind it. DecodeError, LimitExceeded."""
        if not 0 <= start <= len(data):
            raise DecodeError(f"start {start} lies outside of {len(data)} bytes")
        if type(data) is memoryview and data.format != "B":
            data = data.cast("B")
        if self._few is not None and self._uses < AFTER:
            try:
                found = self._read_all(data, start, self._few)
            except LimitExceeded as error:
                if error.limit != "nodes":
                    raise
                self._uses = AFTER
            else:
                self._uses += 1
                return found
        if self._quick is None:
            self._count()
        if self._quick is not None and len(data) <= self._limits.message_bytes:
            try:
                return self._quick(data if type(data) is bytes else bytes(data), start)
            except Exception:  # noqa: BLE001 - what is wrong, if anything, is said below
                pass
        return self._read_all(data, start, self._limits)

    def _read_all(self, data: bytes | bytearray | memoryview, start: int, limits: Limits) -> tuple[Any, int]:
        try:
            return self._read(data, start, Budget(limits, self._plan.weight))
        except RecursionError:
            raise too_deep(limits) from None

    def locate(self, _data: bytes, _start: int) -> tuple[int, int] | None:
        """None: this engine copies large values too."""
        return None

    def decode_apart(self, data: bytes, start: int, at: int, part: bytes) -> tuple[Any, int]:
        """The datum of `data` with `part` inserted at `at`, and the place behind it without `part`."""
        if not start <= at <= len(data) or len(part) <= len(data) - at:
            raise ValueError("no place for a part of more bytes than are behind it")
        value, end = self.decode(b"".join((data[:at], part, data[at:])), start)
        if end < at + len(part):
            raise DecodeError("no value where the part belongs")
        return value, end - len(part)

    def _count(self) -> None:
        if self._uses == AFTER:
            self._quick = quick_read(self._plan, self._limits)
        self._uses += 1


class Conformer:
    """Gives what reading a value written would give, without writing it."""

    def __init__(self, write: WriteNode, read: ReadNode, limits: Limits) -> None:
        self._write = write
        self._limits = limits
        self._pair = pair_up(write, read)
        self._conform = compile_conform(self._pair)
        self._check: Conform | None = None
        self._quick: Callable[[Any], Any] | None = None
        self._uses = 0

    def conform(self, value: object) -> Any:
        """The value as the reader would get it. EncodeError, DecodeError, LimitExceeded."""
        if self._quick is None:
            self._count()
        if self._quick is not None:
            try:
                return self._quick(value)
            except Exception:  # noqa: BLE001 - what is wrong, if anything, is said below
                pass
        try:
            return self._carry_out(self._conform, value)
        except EncodeError:
            raise
        except Exception as error:  # noqa: BLE001 - raised again below
            fault = error
        # Reading comes after writing: a fault in reading counts only if the whole value can be written
        if self._check is None:
            self._check = compile_conform(pair_up(self._write, as_written(self._write)))
        try:
            self._carry_out(self._check, value)
            raise fault
        finally:
            del fault  # it holds this frame

    def _count(self) -> None:
        if self._uses == AFTER:
            self._quick = quick_conform(self._pair, self._limits)
        self._uses += 1

    def _carry_out(self, conform: Conform, value: object) -> Any:
        try:
            left = Measure(self._limits, self._pair.weight)
            result = conform(value, left)
        except RecursionError:
            raise too_deep(self._limits) from None
        check_size(left.size, self._limits)
        return result
