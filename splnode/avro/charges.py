"""What the values of a datum charge to `limits.nodes`. Said here alone: both engines carry out what the plans say.

One node stands for some 45 bytes of memory and 100 ns of time, in the native engine, so that nothing a peer sends
unfolds to more than 45 MB or takes longer than 0.1 s while the limit is 1,000,000. What a value takes depends on its
type and hardly on its bytes, so the schemas decide the charges, once for each plan:

| value | nodes | since it takes |
|---|---|---|
| null, boolean, a number, a symbol | 1 | a list's slot of 8 bytes, with a number of its own 40 |
| bytes, fixed | 2 | 56 bytes or more |
| string | 3 | 72 bytes or more; characters beyond ASCII make it four times as long as what came |
| any of a logical type | 6 | up to 130 bytes, and a call of a Python function |
| array | 2 | 72 bytes without items |
| map | 4 | 200 bytes with the first entry; and 3 for each key, a string in a table |
| record | 4 or more | 200 bytes as a dict; one of n fields 2 + n // 2, where that is more |
| union | as its dearest branch | an array, a map or a record counts as 1, and charges the rest where one comes |

An item, a field, or a default that stands in for a field charges in addition to what holds it. 4 MiB of doubles are
524,289 nodes; a million records without fields are refused as soon as their number is read.
"""

from typing import Final

from splnode.avro.schema import Schema

KEY: Final = 3
"""Of each entry of a map."""
_SCALARS: Final = {"bytes": 2, "fixed": 2, "string": 3}
_LOGICAL: Final = 6


def weight(schema: Schema) -> int:
    """What is charged for a value before it is read or written; whatever holds it does so."""
    if schema.kind == "union":
        return max((weight(branch) for branch in schema.branches), default=1)
    if schema.logical is not None and not schema.logical.endswith("nanos"):  # those are read as numbers
        return _LOGICAL
    return _SCALARS.get(schema.kind, 1)


def entering(schema: Schema) -> int:
    """What an array, a map or a record charges on being entered, besides what it holds."""
    if schema.is_record:
        return max(3, 1 + len(schema.fields) // 2)
    return {"array": 1, "map": 3}.get(schema.kind, 0)


def of_map(schema: Schema, entries: int) -> int:
    """What a map with so many entries charges, which hold no containers."""
    return weight(schema) + entering(schema) + entries * (KEY + sum(weight(items) for items in schema.children()))
