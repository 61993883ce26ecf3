"""The face: every name is there, and costs nothing until it is used."""

import subprocess
import sys

import pytest

import splnode


def test_every_name_is_there() -> None:
    for name in splnode.__all__:
        assert getattr(splnode, name) is not None
    assert set(splnode.__all__) <= set(dir(splnode))


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = splnode.nothing


def test_the_large_parts_are_not_loaded_with_it() -> None:
    program = (
        "import sys, splnode; print(sorted({'asyncio', 'avro', 'h11', 'msgspec', 'structlog'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
