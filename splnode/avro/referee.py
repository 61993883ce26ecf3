"""The second opinion: the `avro` package's own parser must accept what ours accepted.

Our builder comes first, since it names places, checks more (names of fields, defaults) and costs a hostile
text no more than its length. Before `avro` sees a text, what it refuses although real peers send it is
written in the way it knows:

- a reference in an object, `{"type": "com.acme.Name"}`, and a union in one: unwrapped;
- names inside an `error` with a namespace of its own, and the null namespace inside of another: each type
  gets a name of its own without a namespace;
- a one-way message without `response`, and Ruby's `errors` that begin with the implicit "string";
- logical types are left out: ours are checked already, and `avro` warns for those it does not know.
"""

from collections.abc import Mapping
from typing import Any

from splnode.avro.schema import NAMED, PRIMITIVES, full_name, namespace_of
from splnode.errors import SchemaError


def check_schema(document: Any, names: Mapping[str, Any]) -> None:
    """SchemaError if `avro` refuses the schema that our builder accepted; `names` are the types it found."""
    import avro.errors  # noqa: PLC0415 - 30 ms that only those pay who parse
    import avro.name  # noqa: PLC0415
    import avro.schema  # noqa: PLC0415

    plain = _Rewriter(names, "").schema(document, "")
    try:
        avro.schema.make_avsc_object(plain, avro.name.Names())
    except (avro.errors.AvroException, avro.errors.AvroWarning, TypeError, ValueError, AttributeError) as error:
        raise SchemaError(f"the avro package refuses the schema: {_innermost(error)}") from None


def check_protocol(document: Mapping[str, Any], namespace: str, names: Mapping[str, Any]) -> None:
    """SchemaError if `avro` refuses the protocol that our builder accepted."""
    import avro.errors  # noqa: PLC0415 - 30 ms that only those pay who parse
    import avro.protocol  # noqa: PLC0415

    rewriter = _Rewriter(names, namespace)
    plain: Any = {
        "protocol": document["protocol"].rpartition(".")[2],
        "types": [rewriter.schema(each, namespace) for each in document.get("types") or ()],
        "messages": {
            name: rewriter.message(message, namespace) for name, message in (document.get("messages") or {}).items()
        },
    }
    try:
        avro.protocol.make_avpr_object(plain)
    except (
        avro.errors.AvroException,
        avro.errors.AvroWarning,
        TypeError,
        ValueError,
        KeyError,
        AttributeError,
    ) as error:
        raise SchemaError(f"the avro package refuses the protocol: {_innermost(error)}") from None


class _Rewriter:
    def __init__(self, names: Mapping[str, Any], namespace: str) -> None:
        self._own = {name: f"T{place}_{name.rpartition('.')[2]}" for place, name in enumerate(names)}
        self._outermost = namespace

    def schema(self, source: Any, namespace: str) -> Any:
        if isinstance(source, str):
            return source if source in PRIMITIVES else self._reference(source, namespace)
        if isinstance(source, list):
            return [self.schema(branch, namespace) for branch in source]
        kind = source["type"]
        if not isinstance(kind, str):
            return self.schema(kind, namespace)
        if kind in NAMED:
            return self._named(kind, source, namespace)
        if kind in ("array", "map"):
            key = "items" if kind == "array" else "values"
            return {"type": kind, key: self.schema(source[key], namespace)}
        return self.schema(kind, namespace)

    def message(self, source: Mapping[str, Any], namespace: str) -> dict[str, Any]:
        errors = source.get("errors") or []
        return {
            "request": self._fields(source["request"], namespace),
            "response": self.schema(source.get("response", "null"), namespace),
            "errors": [self.schema(each, namespace) for each in errors[errors[:1] == ["string"] :]],
        }

    def _named(self, kind: str, source: Mapping[str, Any], namespace: str) -> dict[str, Any]:
        own = source.get("namespace")
        name = full_name(source["name"], namespace if own is None else own)
        result: dict[str, Any] = {"type": kind, "name": self._own[name]}
        if kind == "enum":
            result["symbols"] = source["symbols"]
            if source.get("default") is not None:
                result["default"] = source["default"]
        elif kind == "fixed":
            result["size"] = source["size"]
        else:
            result["fields"] = self._fields(source["fields"], namespace_of(name))
        return result

    def _fields(self, source: list[Any], namespace: str) -> list[Any]:
        return [{**field, "type": self.schema(field["type"], namespace)} for field in source]

    def _reference(self, name: str, namespace: str) -> str:
        # The same search as builder.find, over the names that it found
        for space in (namespace, self._outermost, ""):
            own = self._own.get(full_name(name, space))
            if own is not None:
                return own
        return name


def _innermost(error: BaseException) -> str:
    """The reason that `avro` wrapped, each time with the whole schema, on its way out."""
    while error.__context__ is not None:
        error = error.__context__
    text = str(error)
    return text if len(text) <= 200 else text[:197] + "..."
