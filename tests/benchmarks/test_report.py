"""What RESULTS.md says of stacks that ran, that failed and that are not there."""

from typing import Any

from benchmarks import report
from benchmarks.stacks import GRPC, RAW, RAW_FUTURES


def stack(name: str, rate: float, failed: str | None = None) -> dict[str, Any]:
    medians = {
        "one": {"p50": 1e6 / rate, "p99": 2e6 / rate, "cpu_us": 1.0, "rate": rate},
        "flood": {"rate": rate, "cpu_us": 1.5},
        "large": {"rate": rate, "mb_s": rate / 10, "cpu_us": 2.0},
    }
    rounds = {"one": [{"elsewhere": 0.0}]}
    return {"stack": name, "failed": failed, "note": "", "medians": {} if failed else medians, "rounds": rounds}


def results(*stacks: dict[str, Any], **more: Any) -> dict[str, Any]:
    machine = {"cpu": "C", "cores": 2, "memory_gib": 1.0, "kernel": "6", "load_before": 0.1}
    head = {"date": "today", "took_s": 1.0, "quick": False, "rounds": 1, "seconds": 0.1}
    return {**head, "machine": machine, "versions": {"Python": "3.11"}, "stacks": list(stacks), **more}


def cells(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {name}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratios_stand_beside_the_numbers() -> None:
    text = report.text(results(stack(RAW, 1000), stack(RAW_FUTURES, 500), stack("splnode, TCP", 400), stack(GRPC, 10)))
    row = cells(text, "splnode, TCP")
    assert row[1:3] == ["2500.0", "2.50"]
    assert row[5:8] == ["400", "0.40", "40.0"]


def test_a_missing_stack_is_named_with_what_to_do() -> None:
    text = report.text(results(stack(RAW, 1000), stack("pycapnp", 1, "not installed: pip install pycapnp")))
    assert "- pycapnp: **not installed: pip install pycapnp**" in text
    assert set(cells(text, "pycapnp")[1:]) == {report.MISSING}


def test_without_the_base_there_are_numbers_and_no_ratios() -> None:
    row = cells(report.text(results(stack("splnode, TCP", 400))), "splnode, TCP")
    assert row[5:8] == ["400", report.MISSING, report.MISSING]


def test_codecs_are_compared_with_fastavro() -> None:
    rows = [
        {"record": "small", "codec": "fastavro", "bytes": 163, "encode_ns": 300.0, "decode_ns": 300.0},
        {"record": "small", "codec": "ours", "bytes": 163, "encode_ns": 20.0, "decode_ns": 40.0},
        {"record": "small", "codec": "gone", "failed": "not installed: pip install gone"},
        {"record": "nested", "codec": "big", "bytes": 601, "encode_ns": 100.0, "decode_ns": 200.0},
    ]
    resolution = [{"codec": "resolves", "plain_ns": 2000.0, "resolved_ns": 2400.0}]
    text = report.text(results(stack(RAW, 1000), codec={"rows": rows, "resolution": resolution}))
    assert cells(text, "big") == ["big", "601", "100", "200", "300", report.MISSING]
    assert cells(text, "resolves") == ["resolves", "2,000", "2,400", "1.20"]
    assert cells(text, "ours") == ["ours", "163", "20", "40", "60", "10.00"]
    assert "- gone: **not installed: pip install gone**" in text


def test_a_budget_that_could_not_be_measured_says_why() -> None:
    text = report.text(results(stack(RAW, 1000), shell={"failed": "no node"}))
    assert cells(text, "shell") == ["shell", "failed: no node", report.MISSING]


def test_a_busy_machine_is_said_aloud() -> None:
    busy = stack(RAW, 1000)
    busy["rounds"] = {"one": [{"elsewhere": 1.2}]}
    assert "**Others used this machine" in report.text(results(busy))
    assert "**Others" not in report.text(results(stack(RAW, 1000)))
