"""A protocol: the named types and the messages that one end serves and the other calls.

The text is kept byte for byte, since it is what goes over the wire: other peers keep keys in it that Avro
does not know, and hash it as it is. The MD5 is an opaque key for "that text", never a fingerprint: one
protocol has a different one in each implementation.

Source: Apache Avro 1.12 specification, "Protocol Declaration".
"""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from splnode.avro import referee
from splnode.avro.builder import SchemaBuilder, check_branches, check_name, join, shown
from splnode.avro.digest import md5
from splnode.avro.schema import NAMED, Schema, full_name, namespace_of
from splnode.avro.text import read_json, read_text
from splnode.collector import CollectorPaused
from splnode.errors import SchemaError
from splnode.limits import DEFAULT_LIMITS, Limits

_KEYS = frozenset(("protocol", "namespace", "doc", "types", "messages"))
_MESSAGE_KEYS = frozenset(("doc", "request", "response", "errors", "one-way"))
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Message:
    """One call of a protocol.

    `request` is a record named as the message whose fields are the parameters; `errors` is a union whose
    branch 0 is the implicit string of system errors. `one_way`: no reply is due. `idempotent`: the key
    `"idempotent": true`, ours, says that it may be sent twice. `properties` are all keys Avro does not know.
    """

    __slots__ = ("doc", "errors", "idempotent", "name", "one_way", "properties", "request", "response")

    def __init__(self, name: str, request: Schema, response: Schema, errors: Schema, *, one_way: bool) -> None:
        self.name = name
        self.request = request
        self.response = response
        self.errors = errors
        self.one_way = one_way
        self.idempotent = False
        self.doc = ""
        self.properties: Mapping[str, Any] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"<Message {self.name}>"


class Protocol:
    """A protocol and its text. Treated as immutable; equal texts are equal protocols.

    `text` is the original, `md5` the 16 bytes of the MD5 of its UTF-8, `name` the full name, `types` the
    named types by full name (those defined inside of messages too), `properties` the keys Avro does not know.
    """

    __slots__ = (
        "__weakref__", "doc", "md5", "messages", "name", "namespace", "properties", "short_name", "source", "text",
        "types",
    )  # fmt: skip

    def __init__(self, text: str, name: str, types: Mapping[str, Schema], messages: Mapping[str, Message]) -> None:
        self.text = text
        self.md5 = md5(text.encode())
        self.name = name
        self.namespace, _, self.short_name = name.rpartition(".")
        self.types = MappingProxyType(dict(types))
        self.messages = MappingProxyType(dict(messages))
        self.doc = ""
        self.source = ""
        self.properties: Mapping[str, Any] = MappingProxyType({})

    @classmethod
    def parse(
        cls, text: str | bytes, *, source: str = "", limits: Limits = DEFAULT_LIMITS, referee: bool = True
    ) -> "Protocol":
        """The protocol of an .avpr text, which may come from a peer. `source` names it in errors (a file, a peer).

        SchemaError says where the text is malformed and why. `referee` False leaves out the second opinion, which the
        `avro` package gives and whose import takes longer than a call: for texts that nobody but their author is
        shown, or that are known to be good.
        """
        try:
            text = read_text(text, "protocol", limits)
            with CollectorPaused():
                protocol = _build(cls, text, read_json(text, "protocol", limits), limits, referee)
        except SchemaError as error:
            if not source:
                raise
            raise SchemaError(error.reasons, f"{source}: {error.path}" if error.path else source) from None
        protocol.source = source
        return protocol

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS, referee: bool = True) -> "Protocol":
        """The protocol in an .avpr file. SchemaError, with the path, also where the file cannot be read."""
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes 3 ms to import
                content = file.read()
        except OSError as error:
            raise SchemaError(f"the protocol file cannot be read: {error.strerror or error}", os.fspath(path)) from None
        return cls.parse(content, source=os.fspath(path), limits=limits, referee=referee)

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Protocol) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.md5)

    def __repr__(self) -> str:
        return f"<Protocol {self.name}>"


ProtocolLike = Protocol | str | os.PathLike[str]
"""A Protocol, the path of an `.avpr` file, or the full name of a protocol that is shipped with splnode."""

SHIPPED: Final = os.path.join(os.path.dirname(os.path.dirname(__file__)), "protocols")  # noqa: PTH118, PTH120 - as above


def find_protocol(protocol: ProtocolLike) -> Protocol:
    """The Protocol that is meant. SchemaError says what was looked for, and which names are shipped."""
    if isinstance(protocol, Protocol):
        return protocol
    path = os.fspath(protocol)
    if path.endswith(".avpr") or os.path.isfile(path):  # noqa: PTH113 - as above
        return Protocol.load(path)
    shipped = [name.removesuffix(".avpr") for name in os.listdir(SHIPPED) if name.endswith(".avpr")]  # noqa: PTH208
    if path not in shipped:
        names = ", ".join(sorted(shipped))
        raise SchemaError(f"{path!r} is no .avpr file, and no protocol of that name is shipped; there are {names}")
    return Protocol.load(os.path.join(SHIPPED, f"{path}.avpr"), referee=False)  # noqa: PTH118 - the tests have asked it


def _build(cls: type[Protocol], text: str, document: Any, limits: Limits, second_opinion: bool) -> Protocol:
    name, namespace = _name(document)
    builder = SchemaBuilder(namespace, limits=limits)
    types = document.get("types")
    if types is not None and not isinstance(types, list):
        raise SchemaError(f"types are a list of definitions, not {shown(types)}", "types")
    for place, each in enumerate(types or ()):
        path = f"types[{place}]"
        if not isinstance(each, dict) or each.get("type") not in NAMED:
            raise SchemaError(f"a definition of a record, error, enum or fixed is needed, not {shown(each)}", path)
        builder.build(each, path)
    messages = document.get("messages")
    if messages is not None and not isinstance(messages, dict):
        raise SchemaError(f"messages are an object, from names to messages, not {shown(messages)}", "messages")
    built = {key: _message(key, each, builder) for key, each in (messages or {}).items()}
    builder.finish()
    if second_opinion:
        referee.check_protocol(document, namespace, builder.names)
    protocol = cls(text, name, builder.names, built)
    protocol.doc = _text(document.get("doc"))
    protocol.properties = _others(document, _KEYS)
    return protocol


def _name(document: Any) -> tuple[str, str]:
    """The full name of the protocol and the namespace of its types."""
    if not isinstance(document, dict):
        raise SchemaError(f"a protocol is an object, not {shown(document)}")
    if "protocol" not in document:
        hint = ": this is a schema, not a protocol" if "type" in document else ""
        raise SchemaError(f'a protocol is an object with the key "protocol"{hint}')
    name, namespace = document["protocol"], document.get("namespace")
    # The names of real protocols have hyphens in them (yaq's do); only a type's name is in the data.
    if not isinstance(name, str) or not name.rpartition(".")[2] or not name.isprintable():
        raise SchemaError(f"a protocol needs a name, not {shown(name)}", "protocol")
    if namespace:
        check_name(namespace, "namespace", "namespace", dotted=True)
    elif namespace is not None and namespace != "":
        raise SchemaError(f"a namespace is a name, not {shown(namespace)}", "namespace")
    name = full_name(name, namespace or "")
    return name, namespace_of(name)


def _message(name: str, source: Any, builder: SchemaBuilder) -> Message:
    path = join("messages", name)
    if not name:
        raise SchemaError("a message needs a name: the empty one is Avro's ping", "messages")
    if not isinstance(source, dict):
        raise SchemaError(f"a message is an object, not {shown(source)}", path)
    if "request" not in source:
        raise SchemaError("the message has no request (an empty list where it takes nothing)", path)
    one_way = source.get("one-way", False)
    if not isinstance(one_way, bool):
        raise SchemaError(f"one-way is true or false, not {shown(one_way)}", path)
    request = Schema("record", name)
    request.fields = builder.fields(source["request"], join(path, "request"))
    if "response" not in source and not one_way:
        raise SchemaError('the message has no response ("null" where it gives nothing)', path)
    response = builder.build(source.get("response", "null"), join(path, "response"))
    errors = _errors(source.get("errors"), builder, join(path, "errors"))
    if one_way and (response.kind != "null" or len(errors.branches) > 1):
        raise SchemaError("a one-way message has no errors, and its response is null", path)
    message = Message(name, request, response, errors, one_way=one_way)
    message.doc = _text(source.get("doc"))
    message.properties = _others(source, _MESSAGE_KEYS)
    message.idempotent = source.get("idempotent") is True
    return message


def _errors(source: Any, builder: SchemaBuilder, path: str) -> Schema:
    """The effective union: the declared errors behind the string of system errors."""
    if source is not None and not isinstance(source, list):
        raise SchemaError(f"errors are a list of types, not {shown(source)}", path)
    declared = source or []
    if declared[:1] == ["string"]:  # Ruby writes the implicit one too
        declared = declared[1:]
    union = builder.build(declared, path)
    union.branches = (builder.build("string"), *union.branches)
    check_branches(union.branches, path)
    return union


def _text(doc: Any) -> str:
    return doc if isinstance(doc, str) else ""


def _others(source: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, Any]:
    if known.issuperset(source):
        return _NOTHING
    return MappingProxyType({key: value for key, value in source.items() if key not in known})
