"""splnode.avro.structs: Structs are known as such, and nothing else is."""

import subprocess
import sys

import msgspec
import pytest

from splnode.avro.structs import is_struct, is_struct_class


class Point(msgspec.Struct):
    x: int = 0


class Empty(msgspec.Struct):
    pass


@pytest.mark.parametrize("kind", [Point, Empty])
def test_a_struct_and_its_class(kind: type) -> None:
    assert is_struct(kind()) and not is_struct(kind)
    assert is_struct_class(kind) and not is_struct_class(kind())


@pytest.mark.parametrize("other", [None, {}, object(), int, Point.__struct_fields__, "Point", list[Point]])
def test_what_is_none(other: object) -> None:
    assert not is_struct(other)
    assert not is_struct_class(other)


@pytest.mark.parametrize("engine", ["native", "plain"])
def test_a_codec_needs_no_msgspec_and_takes_structs_once_it_is_there(engine: str) -> None:
    program = f"""
import sys
from splnode.avro.codec import decoder, encoder, engines
from splnode.avro.schema import parse_schema
if {engine!r} not in engines():
    raise SystemExit
schema = parse_schema('["null", {{"type": "record", "name": "P", "fields": [{{"name": "x", "type": "int"}}]}}]')
encode = encoder(schema, engine={engine!r}).encode
assert encode({{"x": 3}}) == b"\\x02\\x06"
try:
    encode(object())
except Exception as error:
    assert "not object" in str(error), error
assert "msgspec" not in sys.modules
import msgspec
class P(msgspec.Struct):
    x: int
assert encode(P(3)) == b"\\x02\\x06"
assert decoder(schema, into=P | None, engine={engine!r}).decode(b"\\x02\\x06") == (P(3), 2)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
