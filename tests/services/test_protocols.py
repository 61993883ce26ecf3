"""The protocols' texts are the command line's help, and the same type is the same text everywhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import avro.protocol
import pytest

from splnode.avro.fingerprint import resolution_form
from splnode.avro.json_value import RECORD_AVSC, RECORD_NAME
from splnode.avro.protocol import Protocol
from tests.services.conftest import PROTOCOLS

NAMES = [
    "SPLDataService", "SPLExecuteService", "SPLNodeService", "splnode.Health", "splnode.Metrics", "splnode.Reflection",
]  # fmt: skip


def undocumented(document: Any, path: str = "") -> Iterator[str]:
    """The named types, fields, messages and parameters that have no doc."""
    if isinstance(document, dict):
        named = "name" in document or "protocol" in document or "request" in document
        if named and not document.get("doc"):
            yield f"{path}.{document.get('name', '')}"
        for key, value in document.items():
            yield from undocumented(value, f"{path}.{key}")
    elif isinstance(document, list):
        for each in document:
            yield from undocumented(each, path)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_named_as_its_file_and_says_what_everything_is(name: str) -> None:
    path: Path = PROTOCOLS / f"{name}.avpr"
    assert Protocol.load(path).name == name
    assert list(undocumented(json.loads(path.read_text()))) == []
    avro.protocol.parse(path.read_text())  # what Apache's own package says


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_the_same_everywhere(name: str) -> None:
    types = json.loads((PROTOCOLS / f"{name}.avpr").read_text())["types"]
    records = [each for each in types if f"{each.get('namespace')}.{each['name']}" == RECORD_NAME]
    assert records in ([], [json.loads(RECORD_AVSC)])
    assert bool(records) == name.startswith("SPL")


def test_a_module_is_asked_for_in_the_same_words_here_and_elsewhere() -> None:
    local, remote = (Protocol.load(PROTOCOLS / f"{name}.avpr") for name in ("SPLExecuteService", "SPLNodeService"))
    for name in ("ExecuteRequest", "ExecuteResponse", "ExecutionError"):
        assert resolution_form(local.types[name]) == resolution_form(remote.types[name])
