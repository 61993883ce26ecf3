"""From the JSON that a person types to the parameters of a message, and from a result to JSON."""

from collections.abc import Mapping
from typing import Any, Literal

from splnode.avro.json_scalar import BytesAs
from splnode.avro.plain_json import from_json, record_to_json, to_json
from splnode.avro.plain_read import is_open
from splnode.avro.protocol import Message
from splnode.avro.schema import Schema
from splnode.avro.single_object import Lookup
from splnode.errors import DataError, EncodeError

Style = Literal["plain", "avro"]


class JsonForm:
    """How JSON and Avro values become each other: the options --json and --bytes.

    `named`: a record is not read bare. `lookup` knows the schemas that a `splnode.Record` may have.
    """

    def __init__(
        self,
        style: Style = "plain",
        bytes_as: BytesAs = "base64",
        *,
        named: bool = False,
        lookup: Lookup | None = None,
    ) -> None:
        self.named = named
        self.style: Style = style
        self.bytes_as: BytesAs = bytes_as
        self.lookup = lookup

    def params(self, message: Message, value: Any) -> Mapping[str, Any]:
        """The parameters of a call: an object by parameter name, or the only parameter's record bare.

        An empty object names no parameter. EncodeError where a value is neither, or both.
        """
        bare = None if self.named else bare_parameter(message)
        if bare is not None and isinstance(value, dict) and value and bare not in value:  # it has no other reading
            return dict(from_json(message.request, {bare: value}, style=self.style, bytes_as=self.bytes_as))
        named, named_error = self._try(message.request, value)
        if bare is None:
            if named_error is not None:
                raise _explained(message, named_error)
            return dict(named)
        whole, bare_error = self._try(message.request, {bare: value})
        if named_error is None and bare_error is None and value and named != whole:
            raise EncodeError(
                f"{message.name}: this object can be read in two ways: as the parameters by name ({bare} is what stands"
                f" under {bare!r}), or as the {type_name(message)} that is the parameter {bare} itself. With --named it"
                f' is the first; for the second write --named and {{"{bare}": {{"{bare}": ...}}}}'
            )
        if named_error is None:
            return dict(named)
        if bare_error is None:
            return dict(whole)
        by_name = isinstance(value, dict) and set(value) == {bare}
        raise named_error if by_name else bare_error

    def result(self, schema: Schema, value: Any) -> Any:
        """A result, or a declared error, as JSON."""
        return to_json(schema, value, style=self.style, bytes_as=self.bytes_as, unwrap=self._unwrap)

    def _unwrap(self, record: Mapping[str, Any]) -> Any:
        return record_to_json(record, self.lookup, bytes_as=self.bytes_as)

    def _try(self, schema: Schema, value: Any) -> tuple[Any, DataError | None]:
        try:
            return from_json(schema, value, style=self.style, bytes_as=self.bytes_as), None
        except DataError as error:
            return None, error


def bare_parameter(message: Message) -> str | None:
    """The only parameter, if it is a record (or one or null): its object may be given without its name.

    Not one that takes any JSON (`splnode.Record`): every object would have two readings.
    """
    fields = message.request.fields
    if len(fields) != 1:
        return None
    schema = fields[0].schema
    branches = [branch for branch in schema.branches if branch.kind != "null"] if schema.kind == "union" else [schema]
    return fields[0].name if len(branches) == 1 and branches[0].is_record and not is_open(branches[0]) else None


def type_name(message: Message) -> str:
    """The type of the only parameter."""
    schema = message.request.fields[0].schema
    return next((branch.short_name for branch in (schema, *schema.branches) if branch.is_record), schema.kind)


def _explained(message: Message, error: DataError) -> DataError:
    """A value that is no object at all brings the names that are wanted."""
    if not error.path and message.request.fields:
        names = ", ".join(field.name for field in message.request.fields)
        return EncodeError(f"{error} (the parameters of {message.name}: {names})")
    return error
