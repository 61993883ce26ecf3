"""Any JSON as Avro: the types `splnode.Json` and `splnode.Record`, and the way there and back.

A `Record` is a datum that says what it is: the full name of its schema, and a single-object message
(C3 01, CRC-64-AVRO fingerprint, datum; Avro 1.12 specification, "Single-object encoding"). An object that
names no schema travels as a `Json`.

`Json` costs two levels of a datum for one of JSON (the record and its array or map), so the depth limit
of 64 gives 31 levels. What lies deeper, and what no other branch can hold (an integer beyond 64 bits, a
lone surrogate), goes as the text of its JSON in `JsonText`: all JSON goes in and comes out as it was.
"""

from typing import Final

RECORD_NAME: Final = "splnode.Record"
JSON_NAME: Final = "splnode.Json"
TEXT_NAME: Final = "splnode.JsonText"

RECORD_AVSC: Final = """{
  "type": "record",
  "name": "Record",
  "namespace": "splnode",
  "doc": "A datum that says what it is.",
  "fields": [
    {"name": "schema", "type": "string", "doc": "The full name of the datum's schema; splnode.Json for any JSON."},
    {"name": "data", "type": "bytes", "doc": "A single-object message: C3 01, the schema's fingerprint, the datum."}
  ]
}"""
"""The type `splnode.Record`, word for word as it stands in every protocol that uses it."""

JSON_AVSC: Final = """{
  "type": "record",
  "name": "Json",
  "namespace": "splnode",
  "doc": "Any JSON value.",
  "fields": [
    {"name": "value", "type": [
      "null", "boolean", "long", "double", "string",
      {"type": "array", "items": "Json"},
      {"type": "map", "values": "Json"},
      {"type": "record", "name": "JsonText", "doc": "A JSON value that no other branch can hold, as its text.",
       "fields": [{"name": "text", "type": "string"}]}
    ]}
  ]
}"""
"""The type `splnode.Json`: what an object is that names no schema."""
