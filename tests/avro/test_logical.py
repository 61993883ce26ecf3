"""splnode.avro.logical: the converters of logical_values, loaded when they are needed."""

import datetime
import subprocess
import sys

from splnode.avro import logical
from splnode.avro.schema import parse_schema

DATE = parse_schema('{"type": "int", "logicalType": "date"}')


def test_a_schema_without_a_logical_type_converts_nothing() -> None:
    assert logical.reading(parse_schema('"int"')) is None
    assert logical.writing(parse_schema('"int"')) == (None, ())


def test_a_logical_type_has_its_converters() -> None:
    read, (write, classes) = logical.reading(DATE), logical.writing(DATE)
    assert read is not None and write is not None
    assert write(read(3)) == 3
    assert isinstance(read(3), datetime.date) and isinstance(read(3), classes)


def test_a_codec_without_logical_types_loads_none() -> None:
    program = (
        "import sys\n"
        "from splnode.avro.codec import encoder\n"
        "from splnode.avro.plain_json import from_json, to_json\n"
        "from splnode.avro.schema import parse_schema\n"
        'schema = parse_schema(\'["null", "long", "string"]\', referee=False)\n'
        "assert encoder(schema).encode(from_json(schema, 3)) == bytes((2, 6))\n"
        "heavy = {'datetime', 'decimal', 'uuid', 'hashlib', 'pathlib', 'difflib', 'threading'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
