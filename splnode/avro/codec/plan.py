"""The plan: what an engine has to do for one schema, or for one pair of schemas, decided beforehand.

`resolution.read_plan(writer, reader)` and `write_plan(schema)` make plans; `plain` and `native` carry
them out. All choices that depend on schemas alone (promotions, aliases, defaults, the place of a field,
the branch of a union) are made here, once; an engine only loops. So there is nothing to decide twice and
the engines cannot disagree about it.

A plan is a graph as the schema is: a recursive type is a cycle of nodes.

Which fault is reported where a datum has several: the first in the order of the bytes. So that this says
the same in every engine, the limits are charged in these places:

- depth: on entering a record, array or map, before anything of it is read or written. The outermost
  container is at depth 1, and depth `limits.depth` is still allowed.
- nodes: the datum itself charges its `weight`. A record, array or map charges `cost` (of a record with all
  that its fields weigh, and the values that its defaults make) on entering, after the depth. A block of an
  array or map charges `each` for each of its items, when the count (and, where it is negative, the size)
  was read and before the first item; in writing the same, for all of them, before the first. The sum may be
  `limits.nodes`, and no more. How much these are `avro.charges` says.
- message_bytes: a length is checked for being negative (DecodeError), then against the limit
  (LimitExceeded), then against what is left of the data (DecodeError). FIXED the same, each time it is met.
  Writing checks the length of each value, and the whole size at least once at the end.
- varint: at most 10 bytes, of which the tenth is 0 or 1; longer than needed is allowed. A block count of
  -2^63, a negative block size, one beyond the data, or one that the items do not fill exactly: DecodeError.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any


class Op(enum.IntEnum):
    """What stands in the bytes at this node. (specification, "Binary Encoding")"""

    NULL = 0
    BOOLEAN = 1
    INT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    BYTES = 6
    STRING = 7
    FIXED = 8
    ENUM = 9
    ARRAY = 10
    MAP = 11
    RECORD = 12
    UNION = 13
    FAIL = 14
    """Reading only: the writer may have this branch or type, the reader cannot take it (`reason`)."""


class Promote(enum.IntEnum):
    """What the reader's type makes of the writer's. (specification, "Schema Resolution")"""

    NONE = 0
    TO_FLOAT = 1
    """int or long read as float or double."""
    TO_STRING = 2
    """bytes read as string: they must be UTF-8."""
    TO_BYTES = 3
    """string read as bytes (the writer's string must still be UTF-8)."""


class ReadNode:
    """How to read one value that a writer wrote, as the reader wants it.

    - `promote`, then `logical` (a callable: raw value -> Python value; ValueError or OverflowError means
      bad data) are applied to a value that was read.
    - FIXED: `size`. ENUM: `symbols` holds for each of the writer's indexes the value to give or None
      (then `reason` with `{symbol}`-less text says why). ARRAY, MAP: `items`. UNION: `branches`, by the
      writer's index; a branch may be a FAIL node.
    - RECORD: `steps` in the writer's order: `(name, node, target)`; target is the place among `names`, or
      -1 for a field that the reader does not have: it is read, checked and dropped. `names` are the
      reader's fields in order: the keys of the dict. `defaults` are `(place, make)` for the reader's fields
      that the writer lacks; `make()` gives a fresh value each time. `factory` is None for a dict, or a
      msgspec.Struct class, called with the values by keyword (`struct_names` by place), or positionally
      where `positional` says so. `straight` is True where the steps are exactly the names, in order.
    - `weight`, `cost` and `each` are what is charged to the limit of nodes, see above.
    """

    __slots__ = (
        "branches", "cost", "defaults", "each", "factory", "items", "label", "logical", "names", "op", "positional",
        "promote", "reason", "size", "steps", "straight", "struct_names", "symbols", "weight",
    )  # fmt: skip

    def __init__(self, op: Op, label: str = "") -> None:
        self.op = op
        self.label = label
        self.promote = Promote.NONE
        self.logical: Callable[[Any], Any] | None = None
        self.size = 0
        self.symbols: tuple[object, ...] = ()
        self.items: ReadNode | None = None
        self.branches: tuple[ReadNode, ...] = ()
        self.steps: tuple[tuple[str, ReadNode, int], ...] = ()
        self.names: tuple[str, ...] = ()
        self.defaults: tuple[tuple[int, Callable[[], Any]], ...] = ()
        self.straight = True
        self.weight = 1
        self.cost = 0
        self.each = 1
        self.factory: type | None = None
        self.struct_names: tuple[str, ...] = ()
        self.positional = False
        self.reason = ""


class WriteNode:
    """How to write one value, and how to tell whether a union's branch may take it.

    - `logical` (Python value -> raw value; a value of another type passes through unchanged and is then
      checked as raw) is applied first.
    - FIXED: `size`. ENUM: `indexes` by symbol. ARRAY, MAP: `items`. UNION: `branches` in order.
    - RECORD: `fields` in order: `(name, node, default)`; default is None for a field that has none, else a
      callable that gives the value. A value is a dict (unknown keys are an error) or a msgspec.Struct
      (read by `name` through `struct_fields`, see below).
    - `weight`, `cost` and `each` as of ReadNode.

    Which branch of a union takes a value (first one that fits, in the order of the schema):

    | value | fits |
    |---|---|
    | None | null |
    | bool | boolean |
    | int | int in 32 bits, long in 64 bits, float, double |
    | float | float, double |
    | bytes, bytearray, memoryview | bytes, fixed of that length |
    | str | string, enum with that symbol |
    | enum.Enum member | enum with its value, or where that is no str its name, as a symbol |
    | list, tuple | array |
    | dict | map; record with no unknown key and none missing without a default |
    | Struct | record with the short or full name of its class or tag, else the first with all its fields |
    | a value of a logical type (Decimal, UUID, date, ...) | the branch of that logical type (`accepts`) |
    | Branch(name, value) | the branch of that name: full name, short name, or kind |

    The branches of logical types come before all others, then the order of the schema. A dict that fits no record
    is tried on the only record or map branch there is, a Struct on the only record, so that the error says what is
    wrong inside. `accepts` is the tuple of Python classes that `logical` converts.
    """

    __slots__ = (
        "accepts", "branches", "cost", "each", "fields", "indexes", "items", "label", "logical", "names", "op", "size",
        "weight",
    )  # fmt: skip

    def __init__(self, op: Op, label: str = "") -> None:
        self.op = op
        self.label = label
        self.logical: Callable[[Any], Any] | None = None
        self.accepts: tuple[type, ...] = ()
        self.size = 0
        self.indexes: Mapping[str, int] = {}
        self.items: WriteNode | None = None
        self.branches: tuple[WriteNode, ...] = ()
        self.fields: tuple[tuple[str, WriteNode, Callable[[], Any] | None], ...] = ()
        self.names: frozenset[str] = frozenset()
        self.weight = 1
        self.cost = 0
        self.each = 1


class Branch:
    """Says which branch of a union a value belongs to, where its type alone leaves that open.

    `Branch("com.acme.Celsius", {"degrees": 21.5})`. Only for writing; reading gives the bare value.
    """

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: object) -> None:
        self.name = name
        self.value = value

    def __repr__(self) -> str:
        return f"Branch({self.name!r}, {self.value!r})"
