"""Plain JSON of the logical types.

| type | JSON, as it is written | also read |
|---|---|---|
| decimal | a string: "12.30" | a number; the bytes as an object |
| uuid | a string of 36 characters | the bytes of a fixed as an object |
| date, time-*, timestamp-*, local-timestamp-* | ISO 8601: "2024-05-01T12:00:00.5Z" | the number that is stored |
| duration | `{"months": 1, "days": 2, "millis": 3}` | the bytes as an object |
"""

import datetime
import decimal
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from splnode.avro import logical_values as logical
from splnode.avro.json_scalar import INT_BITS, BytesAs, is_byte_form, misfit, read_bytes, read_whole
from splnode.avro.logical_values import Duration
from splnode.avro.schema import Schema

_DURATION_KEYS: Final = ("months", "days", "millis")
_NANOS: Final = re.compile(
    r"(?P<whole>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](?P<nanos>\d{1,9}))?(?P<zone>Z|[+-]\d\d:\d\d)?"
)
RAW: Final = object()
"""What `write_logical` gives for a value that is written as the type below would be."""


def read_logical(schema: Schema, json: Any, bytes_as: BytesAs) -> Any:
    """The value that a JSON value stands for. EncodeError says what was expected and what was found."""
    if is_byte_form(json) and schema.kind in ("bytes", "fixed"):
        raw = read_bytes(schema, json, bytes_as)
        try:
            return logical.reading(schema)(raw)  # type: ignore[misc]  # the logical types of bytes have a converter
        except (ValueError, OverflowError) as error:
            raise misfit(schema, json, str(error)) from None
    if schema.kind in INT_BITS and isinstance(json, int):
        return read_whole(schema, json)
    name = schema.logical or ""
    if name == "decimal":
        return _read_decimal(schema, json)
    if name == "duration":
        return _read_duration(schema, json)
    if not isinstance(json, str):
        raise misfit(schema, json)
    try:
        return _TEXTS[name](json)
    except ValueError:
        raise misfit(schema, json) from None


def _read_decimal(schema: Schema, json: Any) -> decimal.Decimal:
    if isinstance(json, bool) or not isinstance(json, (str, int, float, decimal.Decimal)):
        raise misfit(schema, json)
    try:
        value = decimal.Decimal(str(json))
        logical.writing(schema)[0](value)  # type: ignore[misc]  # a decimal has a converter
    except decimal.InvalidOperation:
        raise misfit(schema, json) from None
    except (ValueError, OverflowError) as error:
        raise misfit(schema, json, str(error)) from None
    return value


def _read_duration(schema: Schema, json: Any) -> Duration:
    if not isinstance(json, dict) or set(json) != set(_DURATION_KEYS):
        raise misfit(schema, json)
    if not all(type(part) is int and 0 <= part < 1 << 32 for part in json.values()):
        raise misfit(schema, json, "each is a whole number from 0 to 4294967295")
    return Duration(**json)


def _uuid(text: str) -> uuid.UUID:
    if len(text) != 36:
        raise ValueError(text)
    return uuid.UUID(text)


def _time(text: str) -> datetime.time:
    value = datetime.time.fromisoformat(text)
    if value.tzinfo is not None:
        raise ValueError(text)
    return value


def _timestamp(text: str) -> datetime.datetime:
    value = datetime.datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(text)
    return value.astimezone(datetime.UTC)


def _local(text: str) -> datetime.datetime:
    value = datetime.datetime.fromisoformat(text)
    if value.tzinfo is not None or ":" not in text:  # Python takes a date for its midnight
        raise ValueError(text)
    return value


def _nanos(text: str, parse: Callable[[str], datetime.datetime], epoch: datetime.datetime) -> int:
    match = _NANOS.fullmatch(text)
    if match is None:
        raise ValueError(text)
    seconds = (parse(match["whole"] + (match["zone"] or "")) - epoch) // datetime.timedelta(seconds=1)
    nanos = seconds * 1_000_000_000 + int((match["nanos"] or "").ljust(9, "0"))
    if not -(1 << 63) <= nanos < 1 << 63:
        raise ValueError(text)
    return nanos


_TEXTS: Final[Mapping[str, Callable[[str], Any]]] = {
    "uuid": _uuid,
    "date": datetime.date.fromisoformat,
    "time-millis": _time,
    "time-micros": _time,
    "timestamp-millis": _timestamp,
    "timestamp-micros": _timestamp,
    "timestamp-nanos": lambda text: _nanos(text, _timestamp, logical.EPOCH_UTC),
    "local-timestamp-millis": _local,
    "local-timestamp-micros": _local,
    "local-timestamp-nanos": lambda text: _nanos(text, _local, logical.EPOCH),
}


def write_logical(schema: Schema, value: Any) -> Any:
    """The JSON value of a value, or RAW. EncodeError for one that the type cannot hold."""
    convert, accepts = logical.writing(schema)
    if convert is not None and isinstance(value, accepts):
        try:
            convert(value)  # refuses what the type cannot hold: the text of 1E+999999999 has a gigabyte
        except (ValueError, OverflowError) as error:
            raise misfit(schema, str(value), str(error)) from None
        return _text_of(value)
    if schema.logical in ("timestamp-nanos", "local-timestamp-nanos") and type(value) is int:
        return _write_nanos(value, schema)
    return RAW


def _text_of(value: Any) -> Any:
    if isinstance(value, Duration):
        return value._asdict()
    if isinstance(value, decimal.Decimal):
        return f"{value:f}"
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return _zulu(value.astimezone(datetime.UTC).isoformat())
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


def _write_nanos(value: int, schema: Schema) -> str:
    seconds, nanos = divmod(value, 1_000_000_000)
    local = schema.logical == "local-timestamp-nanos"
    moment = (logical.EPOCH if local else logical.EPOCH_UTC) + datetime.timedelta(seconds=seconds)
    text = moment.replace(tzinfo=None).isoformat() + (f".{nanos:09}" if nanos else "")
    return text if local else f"{text}Z"


def _zulu(text: str) -> str:
    return text.removesuffix("+00:00") + "Z"
