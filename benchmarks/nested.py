"""A record of 30 fields for the codecs: arrays, maps, unions, an enum, fixed, and records within records.

`READER` is what another program makes of the same data: fields in another order, under other names, with wider types,
some dropped and some of its own with defaults.
"""

import copy
from typing import Any, Final

import msgspec

_ADDRESS: Final[dict[str, Any]] = {"type": "record", "name": "Address", "fields": [
    {"name": "street", "type": "string"},
    {"name": "city", "type": "string"},
    {"name": "postcode", "type": "string"},
    {"name": "country", "type": "string"},
    {"name": "floor", "type": ["null", "int"]},
]}  # fmt: skip
_LINE: Final[dict[str, Any]] = {"type": "record", "name": "Line", "fields": [
    {"name": "sku", "type": "string"},
    {"name": "count", "type": "int"},
    {"name": "price", "type": "double"},
    {"name": "options", "type": {"type": "map", "values": "string"}},
]}  # fmt: skip
_EVENT: Final[dict[str, Any]] = {"type": "record", "name": "Event", "fields": [
    {"name": "at", "type": "long"},
    {"name": "status", "type": "Status"},
    {"name": "note", "type": ["null", "string"]},
]}  # fmt: skip
_STATUS: Final[dict[str, Any]] = {"type": "enum", "name": "Status", "symbols": ["NEW", "PAID", "SENT", "BACK"]}
WRITER: Final[dict[str, Any]] = {"type": "record", "name": "Order", "namespace": "org.splnode.bench", "fields": [
    {"name": "id", "type": "long"},
    {"name": "reference", "type": "string"},
    {"name": "status", "type": _STATUS},
    {"name": "created", "type": "long"},
    {"name": "updated", "type": ["null", "long"]},
    {"name": "priority", "type": "int"},
    {"name": "paid", "type": "boolean"},
    {"name": "gift", "type": "boolean"},
    {"name": "total", "type": "double"},
    {"name": "discount", "type": "double"},
    {"name": "weight", "type": "float"},
    {"name": "currency", "type": "string"},
    {"name": "customer", "type": "string"},
    {"name": "email", "type": ["null", "string"]},
    {"name": "phone", "type": ["null", "string"]},
    {"name": "billing", "type": _ADDRESS},
    {"name": "shipping", "type": ["null", "Address"]},
    {"name": "lines", "type": {"type": "array", "items": _LINE}},
    {"name": "history", "type": {"type": "array", "items": _EVENT}},
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "sizes", "type": {"type": "array", "items": "int"}},
    {"name": "rates", "type": {"type": "array", "items": "double"}},
    {"name": "attributes", "type": {"type": "map", "values": "string"}},
    {"name": "counters", "type": {"type": "map", "values": "long"}},
    {"name": "parent", "type": ["null", "long", "string"]},
    {"name": "source", "type": ["null", "string", "long"]},
    {"name": "digest", "type": {"type": "fixed", "name": "Digest", "size": 16}},
    {"name": "signature", "type": "bytes"},
    {"name": "note", "type": "string"},
    {"name": "version", "type": "int"},
]}  # fmt: skip


def _reader() -> dict[str, Any]:
    """The writer's schema, as another program would have it in a later version of its own."""
    reader = copy.deepcopy(WRITER)
    fields = {field["name"]: field for field in reader["fields"]}
    for name in ("discount", "source", "gift"):  # dropped
        del fields[name]
    for name, wider in (("priority", "long"), ("version", "double"), ("weight", "double"), ("customer", "bytes")):
        fields[name]["type"] = wider
    for name, now in (("reference", "order_number"), ("note", "remark"), ("attributes", "properties")):
        fields[name] |= {"name": now, "aliases": [name]}
    added = [
        {"name": "channel", "type": "string", "default": "web"},
        {"name": "returned", "type": ["null", "long"], "default": None},
        {"name": "attempts", "type": "int", "default": 0},
    ]
    later = [name for name in fields if name not in {"status", "billing", "lines", "history", "shipping"}]
    first = [name for name in fields if name not in later]  # named types stay before their use
    reader["fields"] = [fields[name] for name in first] + [fields[name] for name in reversed(later)] + added
    return reader


READER: Final = _reader()


class Address(msgspec.Struct):
    street: str
    city: str
    postcode: str
    country: str
    floor: int | None


class Line(msgspec.Struct):
    sku: str
    count: int
    price: float
    options: dict[str, str]


class Event(msgspec.Struct):
    at: int
    status: str
    note: str | None


class Order(msgspec.Struct):
    id: int
    reference: str
    status: str
    created: int
    updated: int | None
    priority: int
    paid: bool
    gift: bool
    total: float
    discount: float
    weight: float
    currency: str
    customer: str
    email: str | None
    phone: str | None
    billing: Address
    shipping: Address | None
    lines: list[Line]
    history: list[Event]
    tags: list[str]
    sizes: list[int]
    rates: list[float]
    attributes: dict[str, str]
    counters: dict[str, int]
    parent: int | str | None
    source: int | str | None
    digest: bytes
    signature: bytes
    note: str
    version: int


class Reader(msgspec.Struct):
    """The Struct of `READER`."""

    status: str
    billing: Address
    shipping: Address | None
    lines: list[Line]
    history: list[Event]
    version: float
    remark: str
    signature: bytes
    digest: bytes
    parent: int | str | None
    counters: dict[str, int]
    properties: dict[str, str]
    rates: list[float]
    sizes: list[int]
    tags: list[str]
    phone: str | None
    email: str | None
    customer: bytes
    currency: str
    weight: float
    total: float
    paid: bool
    priority: int
    updated: int | None
    created: int
    order_number: str
    id: int
    channel: str
    returned: int | None
    attempts: int


ORDER: Final[dict[str, Any]] = {
    "id": 81_273_912, "reference": "2026-11-0081273", "status": "SENT", "created": 1_793_961_234_567,
    "updated": 1_793_967_890_123, "priority": 3, "paid": True, "gift": False, "total": 249.85, "discount": 12.5,
    "weight": 3.25, "currency": "EUR", "customer": "Zoë Müller", "email": "zoe@example.org", "phone": None,
    "billing": {
        "street": "Lange Straße 17", "city": "Zürich", "postcode": "8004", "country": "CH", "floor": 3,
    },
    "shipping": {
        "street": "12 Harbour Road", "city": "Wellington", "postcode": "6011", "country": "NZ", "floor": None,
    },
    "lines": [
        {"sku": "A1-0099", "count": 2, "price": 49.95, "options": {"colour": "red", "size": "M"}},
        {"sku": "B7-1204", "count": 1, "price": 129.95, "options": {"colour": "black"}},
        {"sku": "C3-0007", "count": 12, "price": 1.65, "options": {}},
    ],
    "history": [
        {"at": 1_793_961_234_567, "status": "NEW", "note": None},
        {"at": 1_793_962_000_000, "status": "PAID", "note": "by card"},
        {"at": 1_793_967_890_123, "status": "SENT", "note": None},
    ],
    "tags": ["returning", "newsletter", "eu"], "sizes": [40, 42, 41, 300, 7], "rates": [0.07, 0.19, 0.025, 1.0],
    "attributes": {"campaign": "autumn-2026", "device": "phone", "locale": "de-CH"},
    "counters": {"views": 17, "edits": 2, "mails": 150}, "parent": 81_270_001, "source": "partner/acme",
    "digest": bytes(range(128, 144)), "signature": bytes(range(160, 224)),
    "note": "please leave it at the door if nobody is at home, thank you very much", "version": 7,
}  # fmt: skip


def as_struct() -> Order:
    """The order as Structs all through."""
    return msgspec.convert(ORDER, Order)
