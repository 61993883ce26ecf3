"""Logical types: the Python value behind a raw Avro value, and back.

| logical type | Python value |
|---|---|
| decimal | decimal.Decimal |
| uuid | uuid.UUID |
| date | datetime.date |
| time-millis, time-micros | datetime.time without a zone |
| timestamp-millis, timestamp-micros | datetime.datetime in UTC; any aware one is taken |
| local-timestamp-millis, local-timestamp-micros | datetime.datetime without a zone |
| timestamp-nanos, local-timestamp-nanos | int: Python's datetime has no nanoseconds |
| duration | Duration |

The converters raise ValueError or OverflowError for a value that the type cannot hold, with the reason.
What is finer than the type (microseconds in a timestamp-millis) is cut off, as Java does; a Decimal with
more digits behind the point than its scale is refused, since that would change an amount.

Source: Apache Avro 1.12 specification, "Logical Types".
"""

import datetime
import decimal
import struct
import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from splnode.avro.schema import Schema

Convert = Callable[[Any], Any]


class Duration(NamedTuple):
    """An amount of time, in three units that do not convert: each from 0 to 2^32-1."""

    months: int
    days: int
    millis: int


EPOCH: Final = datetime.datetime(1970, 1, 1)  # the local one, which has no zone
EPOCH_UTC: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_EPOCH_DAY: Final = EPOCH.toordinal()
_DURATION: Final = struct.Struct("<III")
_MILLIS_A_DAY: Final = 86_400_000


def reading(schema: Schema) -> Convert | None:
    """The converter raw value -> Python value, or None where the raw value is the value."""
    if schema.logical == "decimal":
        return _decimal_reader(schema.precision, schema.scale)
    if schema.logical == "uuid":
        return _uuid_from_bytes if schema.kind == "fixed" else _uuid_from_text
    return _READERS.get(schema.logical or "")


def writing(schema: Schema) -> tuple[Convert | None, tuple[type, ...]]:
    """The converter Python value -> raw value, and the classes it converts; others pass through it unchanged."""
    if schema.logical == "decimal":
        size = schema.size if schema.kind == "fixed" else None
        return _decimal_writer(schema.precision, schema.scale, size), (decimal.Decimal,)
    if schema.logical == "uuid":
        return (_uuid_to_bytes if schema.kind == "fixed" else _uuid_to_text), (uuid.UUID,)
    return _WRITERS.get(schema.logical or "", (None, ()))


def _decimal_reader(precision: int, scale: int) -> Convert:
    # scaleb rounds to the context's precision, which is 28 digits where none is given
    context = decimal.Context(prec=precision)
    bound = 10**precision

    def read(raw: bytes) -> decimal.Decimal:
        unscaled = int.from_bytes(raw, "big", signed=True)
        if not -bound < unscaled < bound:
            raise ValueError(f"a decimal of more than {precision} digits")
        return decimal.Decimal(unscaled).scaleb(-scale, context)

    return read


def _decimal_writer(precision: int, scale: int, size: int | None) -> Convert:
    def write(value: Any) -> Any:
        if not isinstance(value, decimal.Decimal):
            return value
        sign, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            raise ValueError(f"{value} is not a finite decimal")
        shift = exponent + scale
        # compared before anything is computed: Decimal("1e999999") is short
        if any(digits) and len(digits) + shift > precision:
            raise ValueError(f"a decimal of more than {precision} digits, {scale} of them behind the point")
        unscaled = _shifted(digits, shift)
        if unscaled is None:
            raise ValueError(f"a decimal with more than {scale} digits behind the point")
        signed = -unscaled if sign else unscaled
        width = size if size is not None else ((signed if signed >= 0 else ~signed).bit_length() + 8) // 8
        return signed.to_bytes(width, "big", signed=True)

    return write


def _shifted(digits: tuple[int, ...], shift: int) -> int | None:
    """The digits times ten to the shift; None if that is no whole number."""
    if not any(digits):
        return 0
    if shift < 0:
        if -shift >= len(digits) or any(digits[shift:]):
            return None
        digits, shift = digits[:shift], 0
    return int(decimal.Decimal((0, digits, shift)))


def _uuid_from_text(raw: str) -> uuid.UUID:
    if len(raw) != 36:
        raise ValueError(f"{raw[:40]!r} is not a UUID")
    try:
        return uuid.UUID(raw)
    except ValueError:
        raise ValueError(f"{raw!r} is not a UUID") from None


def _uuid_from_bytes(raw: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=bytes(raw))


def _uuid_to_text(value: Any) -> Any:
    if isinstance(value, str):
        _uuid_from_text(value)
        return value
    return str(value) if isinstance(value, uuid.UUID) else value


def _uuid_to_bytes(value: Any) -> Any:
    return value.bytes if isinstance(value, uuid.UUID) else value


class _PlainDate:
    """What isinstance takes for the class of dates that are no datetimes: a datetime is a date too."""

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)


def _read_date(raw: int) -> datetime.date:
    return datetime.date.fromordinal(_EPOCH_DAY + raw)


def _write_date(value: Any) -> Any:
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.toordinal() - _EPOCH_DAY
    return value


def _time(raw: int, micros: int) -> datetime.time:
    total = raw * micros
    if not 0 <= total < _MILLIS_A_DAY * 1000:
        raise ValueError(f"{raw} is not within a day")
    seconds, micro = divmod(total, 1_000_000)
    minutes, second = divmod(seconds, 60)
    return datetime.time(minutes // 60, minutes % 60, second, micro)


def _write_time(value: Any, micros: int) -> Any:
    if not isinstance(value, datetime.time):
        return value
    if value.tzinfo is not None:
        raise ValueError("a time of day has no zone here")
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return (seconds * 1_000_000 + value.microsecond) // micros


def _write_timestamp(value: Any, micros: int) -> Any:
    if not isinstance(value, datetime.datetime):
        return value
    if value.utcoffset() is None:
        raise ValueError("a timestamp needs a datetime with a zone (tzinfo)")
    return (value - EPOCH_UTC) // datetime.timedelta(microseconds=micros)


def _write_local(value: Any, micros: int) -> Any:
    if not isinstance(value, datetime.datetime):
        return value
    if value.tzinfo is not None:
        raise ValueError("a local timestamp needs a datetime without a zone (tzinfo)")
    return (value - EPOCH) // datetime.timedelta(microseconds=micros)


def _write_duration(value: Any) -> Any:
    if not isinstance(value, Duration):
        return value
    try:
        return _DURATION.pack(*value)
    except struct.error:
        raise ValueError("months, days and millis of a duration are from 0 to 2^32-1") from None


_READERS: Final[dict[str, Convert]] = {
    "date": _read_date,
    "time-millis": lambda raw: _time(raw, 1000),
    "time-micros": lambda raw: _time(raw, 1),
    # days, seconds, microseconds: the only three that take no detour
    "timestamp-millis": lambda raw: EPOCH_UTC + datetime.timedelta(0, 0, raw * 1000),
    "timestamp-micros": lambda raw: EPOCH_UTC + datetime.timedelta(0, 0, raw),
    "local-timestamp-millis": lambda raw: EPOCH + datetime.timedelta(0, 0, raw * 1000),
    "local-timestamp-micros": lambda raw: EPOCH + datetime.timedelta(0, 0, raw),
    "duration": lambda raw: Duration(*_DURATION.unpack(raw)),
}
_DATETIME: Final = (datetime.datetime,)
_WRITERS: Final[dict[str, tuple[Convert, tuple[type, ...]]]] = {
    "date": (_write_date, (cast(type, _PlainDate()),)),
    "time-millis": (lambda value: _write_time(value, 1000), (datetime.time,)),
    "time-micros": (lambda value: _write_time(value, 1), (datetime.time,)),
    "timestamp-millis": (lambda value: _write_timestamp(value, 1000), _DATETIME),
    "timestamp-micros": (lambda value: _write_timestamp(value, 1), _DATETIME),
    "local-timestamp-millis": (lambda value: _write_local(value, 1000), _DATETIME),
    "local-timestamp-micros": (lambda value: _write_local(value, 1), _DATETIME),
    "duration": (_write_duration, (Duration,)),
}
