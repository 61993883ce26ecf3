"""Values to JSON, whichever: how arrays, maps and records are walked, and what errors say of the place."""

from collections.abc import Mapping
from typing import Any

from splnode.avro.branch import as_mapping, deeper
from splnode.avro.json_scalar import key_step, misfit
from splnode.avro.json_text import brief
from splnode.avro.schema import MISSING, Schema
from splnode.errors import DataError, EncodeError
from splnode.limits import Limits


class JsonWriter:
    """Writes one value as JSON. Its subclass says how unions and values without parts are written."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def write(self, schema: Schema, value: Any, depth: int = 0) -> Any:
        """The JSON of a value that stands below `depth` containers.

        EncodeError, with the path, if it is none of the schema's; LimitExceeded for the depth.
        """
        if schema.kind == "union":
            return self._union(schema, value, depth)
        if schema.is_record:
            return self._record(schema, value, depth)
        if schema.kind == "array":
            if not isinstance(value, (list, tuple)) or schema.items is None:
                raise misfit(schema, value)
            items, depth = schema.items, deeper(depth, self._limits)
            return [self._part(items, each, f"[{place}]", depth) for place, each in enumerate(value)]
        if schema.kind == "map":
            if not isinstance(value, Mapping) or schema.items is None:
                raise misfit(schema, value)
            items, depth = schema.items, deeper(depth, self._limits)
            return {key: self._part(items, each, key_step(key), depth) for key, each in value.items()}
        return self._scalar(schema, value)

    def _union(self, union: Schema, value: Any, depth: int) -> Any:
        raise NotImplementedError

    def _scalar(self, schema: Schema, value: Any) -> Any:
        raise NotImplementedError

    def _record(self, schema: Schema, value: Any, depth: int) -> Any:
        depth = deeper(depth, self._limits)
        fields = as_mapping(value)
        if fields is None:
            raise misfit(schema, value)
        unknown = fields.keys() - {field.name for field in schema.fields}
        if unknown:
            raise EncodeError(f"{schema.name} has no field {min(map(str, unknown))!r}")
        json: dict[str, Any] = {}
        for field in schema.fields:
            if field.name in fields:
                json[field.name] = self._part(field.schema, fields[field.name], f".{field.name}", depth)
            elif field.default is MISSING:
                raise EncodeError(f"{schema.name} has no value for the field {field.name!r} in {brief(value)}")
        return json

    def _part(self, schema: Schema, value: Any, step: str, depth: int) -> Any:
        try:
            return self.write(schema, value, depth)
        except DataError as error:
            error.at(step)
            raise
