import json
from pathlib import Path

import pytest

from splnode.avro.protocol import Protocol
from tests.cli.conftest import Shell
from tests.cli.echo import SHIPPED, TEXT

# The specification's "null" and "int": the 64-bit fingerprints of Java's and Python's implementations.
KNOWN = {'"null"': "63dd24e7cc258f8a", '"int"': "7275d51a3f395c8f"}


@pytest.mark.parametrize(("text", "crc"), KNOWN.items())
def test_fingerprints_of_a_schema(shell: Shell, text: str, crc: str) -> None:
    [found] = shell("schema", "fingerprint", "-", given=text.encode()).results
    assert found["crc64"] == crc
    assert set(found) == {"file", "name", "crc64", "md5", "sha256", "wire", "resolution"}


def test_fingerprints_of_a_protocol(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "p.avpr").write_text(TEXT)
    [found] = shell("schema", "fingerprint", str(tmp_path / "p.avpr")).results
    assert found["text_md5"] == Protocol.parse(TEXT).md5.hex()
    assert found["name"] == "test.Echo"


def test_canonical(shell: Shell) -> None:
    done = shell(
        "schema", "canonical", "-", given=b'{"type": "fixed", "size": 2, "doc": "x", "name": "F", "namespace": "n"}'
    )
    assert done.out == '{"name":"n.F","type":"fixed","size":2}\n'
    assert shell("schema", "canonical", "-", given=TEXT.encode()).code == 2


def test_what_is_shipped_is_valid_and_has_no_warnings(shell: Shell) -> None:
    files = [str(file) for file in sorted(SHIPPED.glob("*.avpr"))]
    done = shell("schema", "validate", *files)
    assert (done.code, done.err) == (0, "")
    assert [row["file"] for row in done.results if row["valid"] and not row["warnings"]] == files


def test_warnings(shell: Shell) -> None:
    bad = (
        b'{"type": "record", "name": "R", "fields": [{"name": "t", "type": "long", "logicalType": "timestamp-millis"}]}'
    )
    done = shell("schema", "validate", "-", given=bad)
    assert done.code == 0
    assert len(done.results[0]["warnings"]) == 1
    assert "beside a type is ignored" in done.err
    assert shell("schema", "validate", "--strict", "-", given=bad).code == 4


@pytest.mark.parametrize("text", ["{", '{"type": "recrd"}', '{"protocol": "P", "messages": {"m": {}}}', "nonsense"])
def test_what_is_not_valid_is_4(shell: Shell, text: str) -> None:
    done = shell("schema", "validate", "-", given=text.encode())
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("splnode: -: ")


def test_the_other_files_are_still_looked_at(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("{")
    (tmp_path / "good").write_text(json.dumps("int"))
    done = shell("schema", "validate", str(tmp_path / "bad"), str(tmp_path / "good"))
    assert (done.code, len(done.results)) == (4, 1)
    assert shell("schema", "validate", str(tmp_path / "none")).code == 2
