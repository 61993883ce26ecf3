"""The C extension's face; `native` is the module to import."""

from typing import Any, final

from splnode.avro.codec.plan import ReadNode, WriteNode
from splnode.limits import Limits

@final
class Encoder:
    """Writes the values of one plan."""

    def __new__(cls, plan: WriteNode, limits: Limits) -> Encoder: ...
    def encode(self, value: object, /) -> bytes:
        """The value's encoding. EncodeError, LimitExceeded."""
    def encode_parts(self, value: object, /) -> bytes | list[bytes]:
        """The same, in parts where it holds large bytes objects: each of them is a part as it is, not copied."""

@final
class Decoder:
    """Reads the values of one plan."""

    def __new__(cls, plan: ReadNode, limits: Limits) -> Decoder: ...
    def decode(self, data: bytes | bytearray | memoryview, start: int = 0, /) -> tuple[Any, int]:
        """The value that starts at `start`, and the offset behind it. DecodeError, LimitExceeded."""
    def locate(self, data: bytes, start: int, /) -> tuple[int, int] | None:
        """Where the bytes or string begins in which the data end, and its size; None where they end elsewhere."""
    def decode_apart(self, data: bytes, start: int, at: int, part: bytes, /) -> tuple[Any, int]:
        """As decode where `part` stood at `at`, with the offset as if it did not: it is not copied."""

@final
class Conformer:
    """Gives what reading a value written would give, without writing it.

    `write` and `read` are plans of the same writer's schema; ValueError if they are not.
    """

    def __new__(cls, write: WriteNode, read: ReadNode, limits: Limits) -> Conformer: ...
    def conform(self, value: object, /) -> Any:
        """A deep copy, checked, defaults filled in. EncodeError, DecodeError, LimitExceeded."""
