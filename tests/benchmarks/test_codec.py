"""Every codec that is installed gives the request back; what is not is said, not left out."""

import pytest

from benchmarks import codec

pytest.importorskip("fastavro")


def test_each_codec_gives_the_request_back() -> None:
    rows = codec.measure(0)["rows"]
    assert {row["codec"] for row in rows} == set(codec.CODECS)
    assert [row for row in rows if row.get("failed", "").startswith("failed")] == []


def test_the_request_is_163_bytes_of_avro() -> None:
    rows = {row["codec"]: row for row in codec.measure(0)["rows"]}
    assert rows["splnode plain, dicts"]["bytes"] == rows["avro"]["bytes"] == 163
