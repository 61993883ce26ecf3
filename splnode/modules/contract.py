"""What a module says that it takes and gives, and the values on the way in and out.

A contract is an Avro schema: a record with up to three fields. One that is missing is not checked.

| field | is |
|---|---|
| headers | a record of strings: the headers that the module reads; one without a default must be there |
| input | the type of the value that the module gets |
| output | the type of the value that it returns |

```json
{"type": "record", "name": "Upper", "doc": "Upper-cases a text.", "fields": [
  {"name": "input", "type": "string"},
  {"name": "output", "type": {"type": "record", "name": "Shouted", "fields": [{"name": "text", "type": "string"}]}}
]}
```
"""

from collections.abc import Mapping
from typing import Any, Final

from splnode.avro import plain_json, single_object
from splnode.avro.codec import conformer, encoder
from splnode.avro.fingerprint import crc64_avro, resolution_form
from splnode.avro.json_value import JSON_NAME, json_to_record, make_record, open_record
from splnode.avro.schema import MISSING, Schema, parse_schema
from splnode.errors import DataError, DecodeError, EncodeError, SchemaError
from splnode.modules.result import Record

FIELDS: Final = ("headers", "input", "output")

Value = None | bytes | str | Mapping[str, Any]
"""A value between a caller and a module; the Mapping is a splnode.Record."""


class ContractFault(Exception):
    """Something does not hold. `code` is a symbol of ExecutionFault."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ModuleContract:
    """A contract, parsed. Without a text it admits everything."""

    def __init__(self, text: str | None = None) -> None:
        self.text = text
        self.headers: Schema | None = None
        self.input: Schema | None = None
        self.output: Schema | None = None
        if text is not None:
            self._read(text)

    def schema_text(self, fingerprint: str) -> str | None:
        """The text of the input's or the output's schema, if it has this CRC-64-AVRO (16 hexadecimal digits)."""
        for schema in (self.input, self.output):
            if schema is not None and single_object.show(crc64_avro(schema)) == fingerprint:
                return resolution_form(schema)  # complete by itself, and with the logical types
        return None

    def check_headers(self, headers: Mapping[str, str]) -> None:
        """ContractFault(INVALID_INPUT) names the headers that are missing."""
        if self.headers is None:
            return
        missing = [each.name for each in self.headers.fields if each.default is MISSING and each.name not in headers]
        if missing:
            raise ContractFault("INVALID_INPUT", f"the module needs the header {' and '.join(missing)}")

    def take(self, value: Value) -> Any:
        """What the module is given. ContractFault(INVALID_INPUT) says why it is not admitted, with the path."""
        try:
            return self._take(value)
        except (DataError, SchemaError) as error:
            raise ContractFault("INVALID_INPUT", f"the value does not fit the module's input: {error}") from None

    def give(self, value: Any, *, typed: bool = False) -> Value:
        """What the caller is given for what the module returned. ContractFault(INVALID_OUTPUT).

        A structured value of the contract becomes a Record of its schema if `typed`, else one of JSON.
        """
        try:
            return self._give(value, typed)
        except (DataError, SchemaError) as error:
            raise ContractFault("INVALID_OUTPUT", f"what the module returned cannot be sent: {error}") from None

    def is_typed(self, value: Value) -> bool:
        """Whether a caller that sent `value` reads Records of other schemas than JSON."""
        return isinstance(value, Mapping) and value["schema"] != JSON_NAME

    def _take(self, value: Value) -> Any:
        schema = self.input
        if not isinstance(value, Mapping):
            return value if schema is None else conformer(schema)(value)
        if value["schema"] == JSON_NAME:
            _, plain = open_record(value, lambda _: None)
            return plain if schema is None else conformer(schema)(plain_json.from_json(schema, plain))
        if schema is None:
            return Record(value["schema"], value["data"])
        number = single_object.fingerprint_of(value["data"])
        if number != crc64_avro(schema):
            theirs = f"{value['schema']!r} with the fingerprint {single_object.show(number)}"
            raise DecodeError(f"the record is a {theirs}, and {schema.label!r} is asked for")
        return single_object.decode(value["data"], lambda _: schema)

    def _give(self, value: Any, typed: bool) -> Value:
        if isinstance(value, (bytearray, memoryview)):
            value = bytes(value)
        schema = self.output
        if schema is None:
            if isinstance(value, Record):
                return {"schema": value.schema, "data": value.data}
            return value if value is None or isinstance(value, (bytes, str)) else json_to_record(value)
        if value is None or isinstance(value, (bytes, str)):
            encoder(schema).encode(value)
            return value
        if typed:
            return make_record(schema, value)
        return json_to_record(plain_json.to_json(schema, conformer(schema)(value)))

    def _read(self, text: str) -> None:
        try:
            schema = parse_schema(text)
            if not schema.is_record:
                raise SchemaError(f"a contract is a record with fields of {', '.join(FIELDS)}, not a {schema.label}")
            unknown = [field.name for field in schema.fields if field.name not in FIELDS]
            if unknown:
                raise SchemaError(f"a contract has the fields {', '.join(FIELDS)}, and not {', '.join(unknown)}")
            found = {field.name: field.schema for field in schema.fields}
            self.headers, self.input, self.output = (found.get(name) for name in FIELDS)
            if self.headers is not None:
                _check_header_fields(self.headers)
        except SchemaError as error:
            raise ContractFault("BROKEN", f"the module's contract cannot be used: {error}") from None


def _check_header_fields(schema: Schema) -> None:
    if not schema.is_record:
        raise SchemaError(f"headers must be a record of strings, not {schema.label}")
    for field in schema.fields:
        kinds = {branch.kind for branch in field.schema.branches} or {field.schema.kind}
        if not kinds <= {"string", "null"}:
            raise SchemaError(f"the header {field.name} must be a string, or a union of null and string")


def text_or_refuse(value: Any, what: str) -> str:
    """A string that can be sent; a lone surrogate in it is escaped. EncodeError if it is none."""
    if not isinstance(value, str):
        raise EncodeError(f"{what} must be a string, not {type(value).__name__}")
    return value.encode("utf-8", "backslashreplace").decode()
