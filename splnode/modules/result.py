"""What a module may return, and be given, besides plain values."""

from collections.abc import Mapping
from typing import Any


class Result:
    """A value with headers, or a failure that the module found itself.

    `error` makes the status `error`, with that text. Without it the status follows from the value: `data`,
    `blob` (bytes) or `completed` (None).

        return Result({"total": 3}, headers={"currency": "EUR"})
        return Result(error="the order is empty")
    """

    __slots__ = ("error", "headers", "value")

    def __init__(
        self, value: Any = None, *, headers: Mapping[str, str] | None = None, error: str | None = None
    ) -> None:
        self.value = value
        self.headers = dict(headers or {})
        self.error = error


class Record:
    """A splnode.Record of a schema that the module has no contract for: passed through as it is."""

    __slots__ = ("data", "schema")

    def __init__(self, schema: str, data: bytes) -> None:
        self.schema = schema
        self.data = data
