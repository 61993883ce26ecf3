import json
from typing import Any

import msgspec
import pytest

from splnode.avro.protocol import Protocol
from splnode.balance.choice import sticky_key
from splnode.rpc.call import Call
from splnode.wire.message import Contract


class Request(msgspec.Struct):
    key: str


def keyed(path: object, params: dict[str, Any]) -> bytes | None:
    message = {"request": [], "response": "null"} | ({"sticky": path} if path is not None else {})
    protocol = Protocol.parse(json.dumps({"protocol": "P", "messages": {"m": message}}))
    return sticky_key(Call(Contract(protocol), protocol.messages["m"], params, 0.0))


@pytest.mark.parametrize(
    ("path", "params", "key"),
    [
        ("request.key", {"request": {"key": "a"}}, b"a"),
        ("request.key", {"request": Request("a")}, b"a"),
        ("id", {"id": 17}, b"17"),
        ("id", {"id": b"\0\xff"}, b"\0\xff"),
        ("id", {"id": "\ud800"}, b"?"),
        ("id", {"id": None}, None),
        ("request.key.more", {"request": {"key": "a"}}, None),
        ("other", {"id": 1}, None),
        (None, {"id": 1}, None),
        (17, {"id": 1}, None),
    ],
)
def test_the_key_is_where_the_protocol_says(path: object, params: dict[str, Any], key: bytes | None):
    assert keyed(path, params) == key
