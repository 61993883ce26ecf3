"""A protocol as text for a reader: its messages as one would write them in a program."""

import textwrap
from collections.abc import Iterator
from typing import Any, Final

from splnode.avro import json_text
from splnode.avro.protocol import Message, Protocol
from splnode.avro.schema import MISSING, Field, Schema, walk

WIDTH: Final = 100


def type_text(schema: Schema) -> str:
    """A type in a few characters: `array<string>`, `string?` for a union with null, a named type's short name."""
    if schema.name:
        return f"{schema.short_name} ({schema.logical})" if schema.logical else schema.short_name
    if schema.kind == "decimal" or schema.logical == "decimal":
        return f"decimal({schema.precision}, {schema.scale})"
    if schema.logical:
        return schema.logical
    if schema.items is not None:
        return f"{schema.kind}<{type_text(schema.items)}>"
    if schema.kind == "union":
        return _union(schema)
    return schema.kind


def message_text(message: Message) -> str:
    """`read(topic: string, limit: long? = null) -> ReadResult throws DataReadError`."""
    parameters = ", ".join(parameter_text(field) for field in message.request.fields)
    if message.one_way:
        return f"{message.name}({parameters}) one-way"
    errors = ", ".join(type_text(branch) for branch in message.errors.branches[1:])
    throws = f" throws {errors}" if errors else ""
    return f"{message.name}({parameters}) -> {type_text(message.response)}{throws}"


def parameter_text(field: Field) -> str:
    """`limit: long? = null`."""
    default = "" if field.default is MISSING else f" = {_short(field.default)}"
    return f"{field.name}: {type_text(field.schema)}{default}"


def describe_message(service: str, message: Message) -> str:
    """A message, its parameters with their types and sentences, and every type that is reached from it."""
    lines = [f"{service}.{message_text(message)}"]
    lines += _doc(message.doc, "  ")
    if message.request.fields:
        lines += ["", "parameters:", *_fields(message.request.fields)]
    if not message.one_way:
        lines += ["", f"result: {type_text(message.response)}"]
    roots = [field.schema for field in message.request.fields] + [message.response, *message.errors.branches]
    return "\n".join([*lines, *_types(roots)])


def describe_protocol(protocol: Protocol) -> str:
    """A protocol: its sentence, its messages, its types."""
    lines = [protocol.name, *_doc(protocol.doc, "  ")]
    if protocol.messages:
        lines += ["", "messages:"]
    for message in protocol.messages.values():
        lines += [f"  {message_text(message)}", *_doc(message.doc, "      ")]
    roots = list(protocol.types.values())
    for message in protocol.messages.values():
        roots += [message.request, message.response, message.errors]
    own = {id(message.request) for message in protocol.messages.values()}
    return "\n".join([*lines, *_types(roots, own)])


def as_json(schema: Schema) -> Any:
    """A type as JSON for a program: its text, and the names of what it is made of."""
    return {"type": type_text(schema), **({"name": schema.name} if schema.name else {})}


def message_json(service: str, message: Message) -> dict[str, Any]:
    """A message as JSON for a program."""
    return {
        "service": service,
        "message": message.name,
        "doc": message.doc,
        "signature": message_text(message),
        "parameters": [
            {"name": field.name, **as_json(field.schema), "doc": field.doc}
            | ({} if field.default is MISSING else {"default": field.default})
            for field in message.request.fields
        ],
        "response": as_json(message.response),
        "errors": [as_json(branch) for branch in message.errors.branches[1:]],
        "oneWay": message.one_way,
        "idempotent": message.idempotent,
    }


def _union(schema: Schema) -> str:
    others = [type_text(branch) for branch in schema.branches if branch.kind != "null"]
    if len(others) == len(schema.branches):
        return " | ".join(others)
    return f"{others[0]}?" if len(others) == 1 else " | ".join(["null", *others])


def _types(roots: list[Schema], leave_out: set[int] | None = None) -> Iterator[str]:
    named = [each for each in walk(*roots) if each.name and id(each) not in (leave_out or set())]
    for schema in named:
        yield ""
        if schema.is_record:
            yield f"{schema.kind} {schema.name}"
            yield from _doc(schema.doc, "  ")
            yield from _fields(schema.fields)
        elif schema.kind == "enum":
            yield f"enum {schema.name}: {', '.join(schema.symbols)}"
            yield from _doc(schema.doc, "  ")
        else:
            yield f"fixed {schema.name}: {schema.size} bytes{f', {schema.logical}' if schema.logical else ''}"
            yield from _doc(schema.doc, "  ")


def _fields(fields: tuple[Field, ...]) -> Iterator[str]:
    for field in fields:
        yield f"  {parameter_text(field)}"
        yield from _doc(field.doc, "      ")


def _doc(doc: str, indent: str) -> list[str]:
    return textwrap.wrap(doc, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _short(value: Any) -> str:
    return textwrap.shorten(json_text.dumps(value), 40, placeholder="...")
