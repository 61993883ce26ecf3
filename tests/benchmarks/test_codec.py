"""Every codec that is installed gives the record back; what is not is said, not left out."""

from typing import Any

import pytest

from benchmarks import codec, nested

pytest.importorskip("fastavro")


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return codec.measure(0)


def test_each_codec_gives_each_record_back(measured: dict[str, Any]) -> None:
    rows = measured["rows"]
    assert {row["codec"] for row in rows if row["record"] == "small"} == set(codec.CODECS)
    assert {row["codec"] for row in rows if row["record"] == "nested"} == set(codec.CODECS) - set(codec.ONLY_SMALL)
    assert [row for row in rows if row.get("failed", "").startswith("failed")] == []


def test_the_request_is_163_bytes_of_avro(measured: dict[str, Any]) -> None:
    rows = {row["codec"]: row for row in measured["rows"] if row["record"] == "small"}
    assert rows["splnode plain, dicts"]["bytes"] == rows["avro"]["bytes"] == 163


def test_both_records_have_30_fields() -> None:
    assert len(nested.WRITER["fields"]) == len(nested.READER["fields"]) == 30


def test_what_resolution_costs_is_told_for_dicts_and_structs(measured: dict[str, Any]) -> None:
    rows = {row["codec"]: row for row in measured["resolution"]}
    assert {"splnode plain, Structs", "splnode plain, dicts"} <= set(rows)
    assert all(row["resolved_ns"] > 0 and row["plain_ns"] > 0 for row in rows.values())
