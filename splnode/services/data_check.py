"""Whether data fits a schema. It is kept as it was written: this only looks."""

from collections.abc import Mapping

from splnode.avro import plain_json, single_object
from splnode.avro.codec import encoder
from splnode.avro.fingerprint import crc64_avro
from splnode.avro.json_value import JSON_NAME, open_record
from splnode.avro.schema import Schema
from splnode.errors import DecodeError
from splnode.services.store_queries import Data


def check_record(data: Data) -> None:
    """DataError if `data` is a Record that nobody could read: no single-object message, or JSON that is none."""
    if isinstance(data, Mapping):
        if data["schema"] == JSON_NAME:
            open_record(data, lambda _: None)
        else:
            single_object.fingerprint_of(data["data"])


def check(schema: Schema, data: Data) -> None:
    """DataError, with the path, if `data` is no value of `schema`.

    Nothing, bytes and text are values of their own. A Record must be of this schema, or be JSON that the
    schema admits.
    """
    if data is None or isinstance(data, (bytes, str)):
        encoder(schema).encode(data)
        return
    number = single_object.fingerprint_of(data["data"])
    if number == crc64_avro(schema):
        single_object.decode(data["data"], lambda _: schema)
    elif data["schema"] == JSON_NAME:
        _, value = open_record(data, lambda _: None)
        encoder(schema).encode(plain_json.from_json(schema, value))
    else:
        theirs = f"{data['schema']!r} with the fingerprint {single_object.show(number)}"
        raise DecodeError(f"the record is a {theirs}, the schema is {schema.label!r}")
