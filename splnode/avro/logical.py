"""What stands between a schema's raw values and Python's; nothing where the schema has no logical type.

The converters are those of `logical_values`, which the first schema that needs them loads: dates, decimals and UUIDs
cost a short program several milliseconds.
"""

from collections.abc import Callable
from typing import Any

from splnode.avro.schema import Schema

Convert = Callable[[Any], Any]


def reading(schema: Schema) -> Convert | None:
    """The converter raw value -> Python value, or None where the raw value is the value."""
    if schema.logical is None:
        return None
    from splnode.avro import logical_values  # noqa: PLC0415 - see above

    return logical_values.reading(schema)


def writing(schema: Schema) -> tuple[Convert | None, tuple[type, ...]]:
    """The converter Python value -> raw value, and the classes it converts; others pass through it unchanged."""
    if schema.logical is None:
        return None, ()
    from splnode.avro import logical_values  # noqa: PLC0415 - see above

    return logical_values.writing(schema)
