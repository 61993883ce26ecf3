"""What RESULTS.md says of stacks that ran, that failed and that are not there."""

from typing import Any

from benchmarks import report
from benchmarks.stacks import AVSC_TCP, GRPC, OURS, RAW, RAW_FUTURES, USUAL
from benchmarks.targets import TARGETS


def stack(name: str, rate: float, failed: str | None = None) -> dict[str, Any]:
    medians = {
        "one": {"p50": 1e6 / rate, "p99": 2e6 / rate, "cpu_us": 1.0, "rate": rate},
        "flood": {"rate": rate, "cpu_us": 1.5},
        "large": {"rate": rate, "mb_s": rate / 10, "cpu_us": 2.0},
    }
    result = {"stack": name, "failed": failed, "note": "", "kinds": USUAL, "rounds": {"one": [{"elsewhere": 0.0}]}}
    return {**result, "medians": {} if failed else medians}


def results(*stacks: dict[str, Any], **more: Any) -> dict[str, Any]:
    machine = {"cpu": "C", "cores": 2, "memory_gib": 1.0, "kernel": "6", "load_before": 0.1}
    head = {"date": "today", "took_s": 1.0, "quick": False, "rounds": 1, "seconds": 0.1}
    return {**head, "machine": machine, "versions": {"Python": "3.11"}, "stacks": list(stacks), **more}


def cells(text: str, title: str, name: str) -> list[str]:
    """The cells of a line, in the table below a heading."""
    below = text.partition(f"## {title}\n")[2]
    line = next(line for line in below.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


MANY, ONE = "64 in flight on one connection", "One at a time"


def test_ratios_stand_beside_the_numbers() -> None:
    text = report.text(results(stack(RAW, 1000), stack(RAW_FUTURES, 500), stack(OURS, 400), stack(GRPC, 10)))
    missing = report.MISSING
    assert cells(text, MANY, OURS)[1:] == ["400", "0.40", "0.80", "40.0", missing, missing, "1.50"]
    assert cells(text, ONE, OURS)[1:] == ["2500.0", "2.50", missing, "5000.0", "2.50"]
    assert cells(text, "Large values", OURS)[1:4] == ["40", "0.40", missing]


def test_a_target_is_met_or_not_or_was_not_measured() -> None:
    text = report.text(results(stack(RAW, 1000), stack(RAW_FUTURES, 500), stack(OURS, 400), stack(GRPC, 10)))
    assert cells(text, "Targets", f"{MANY}: calls/s of {RAW}")[1:] == ["at least 0.45", "0.40", "**not met**"]
    assert cells(text, "Targets", f"{MANY}: calls/s of {RAW_FUTURES}")[1:] == ["at least 0.8", "0.80", "met"]
    assert cells(text, "Targets", f"{MANY}: calls/s of {AVSC_TCP}")[1:] == ["at least 6", "-", "not measured"]
    assert cells(text, "Targets", f"{MANY}: CPU a call, both ends")[1:] == ["at most 3.5 us", "1.50 us", "met"]
    assert f"2 of {len(TARGETS)} are met" in text
    lacking = [line for line in text.splitlines() if line.startswith("- one at a time: p50 of raw echo, callbacks: ")]
    assert len(lacking) == 1
    assert "CPU a call, both ends: The kernel" not in text  # it is met


def test_a_missing_stack_is_named_with_what_to_do() -> None:
    text = report.text(results(stack(RAW, 1000), stack("pycapnp", 1, "not installed: pip install pycapnp")))
    assert "- pycapnp: **not installed: pip install pycapnp**" in text
    assert set(cells(text, MANY, "pycapnp")[1:]) == {report.MISSING}


def test_a_kind_that_nobody_took_part_in_has_no_table() -> None:
    assert "## 64 connections" not in report.text(results(stack(RAW, 1000)))


def test_without_the_base_there_are_numbers_and_no_ratios() -> None:
    row = cells(report.text(results(stack(OURS, 400))), MANY, OURS)
    assert row[1:4] == ["400", report.MISSING, report.MISSING]


def test_codecs_are_compared_with_fastavro() -> None:
    rows = [
        {"record": "small", "codec": "fastavro", "bytes": 163, "encode_ns": 300.0, "decode_ns": 300.0},
        {"record": "small", "codec": "ours", "bytes": 163, "encode_ns": 20.0, "decode_ns": 40.0},
        {"record": "small", "codec": "gone", "failed": "not installed: pip install gone"},
    ]
    resolution = [{"codec": "ours", "plain_ns": 100.0, "resolved_ns": 125.0}]
    text = report.text(results(stack(RAW, 1000), codec={"rows": rows, "resolution": resolution}))
    assert cells(text, "Codec", "ours") == ["ours", "163", "20", "40", "60", "10.0"]
    assert "| ours  |    100 |      125 |  1.25 |" in text
    assert "- gone: **not installed: pip install gone**" in text


def test_what_could_not_be_measured_says_why() -> None:
    failed = {"failed": "no node"}
    text = report.text(results(stack(RAW, 1000), shell=failed, codec=failed, workers=failed))
    assert cells(text, "Memory, and the shell", "shell") == ["shell", "failed: no node"]
    assert text.count("**failed: no node**") == 2


def test_the_soak_is_shown_with_its_date() -> None:
    soak = {
        "date": "2026-01-02T03:04:05", "took_s": 60.0, "growth_mib": 0.5,
        "marks": [{"calls": 1_000_000, "server_mib": 30.0, "client_mib": 31.0}],
    }  # fmt: skip
    text = report.text(results(stack(RAW, 1000), soak=soak))
    assert "| 1,000,000 |       30.0 |       31.0 |" in text
    assert "of 2026-01-02, 60 s." in text
    assert cells(text, "Targets", "memory that 10 million calls add, the worse end")[2:] == ["0.50 MiB", "met"]


def test_workers_are_compared_with_one() -> None:
    rows = [{"workers": 1, "rate": 1000.0}, {"workers": 2, "rate": 1500.0}]
    text = report.text(results(stack(RAW, 1000), workers={"rows": rows, "growth": 1.5, "cores": 2}))
    assert cells(text, "Workers", "2") == ["2", "1,500", "1.50"]


def test_a_busy_machine_is_said_aloud() -> None:
    busy = stack(RAW, 1000)
    busy["rounds"] = {"one": [{"elsewhere": 1.2}]}
    assert "**Others used this machine" in report.text(results(busy))
    assert "**Others" not in report.text(results(stack(RAW, 1000)))


def test_where_the_time_goes() -> None:
    server = {"us": 2.0, "parts": {"kernel": 1.25, "Python": 0.75}, "functions": [[0.5, "kernel", "tcp_ack"]]}
    client = {"us": 3.0, "parts": {"Python": 3.0}, "functions": [[1.5, "Python", "insertdict"]]}
    profile = {"flood": {"server": server, "client": client}, "one": {"failed": "perf is not installed"}}
    text = report.text(results(stack(RAW, 1000), profile=profile))
    title = "Where the time goes"
    assert cells(text, title, "64 in flight")[1:] == ["all", "kernel", "Python"]
    assert cells(text, title, "server ")[1:] == ["2.00", "1.25", "0.75"]
    assert cells(text, title, "client")[1:] == ["3.00", "0.00", "3.00"]
    assert cells(text, title, "kernel: tcp_ack")[1:] == ["0.50", "Python: insertdict", "1.50"]
    assert "- one at a time, both ends on one CPU: perf is not installed" in text
    assert title not in report.text(results(stack(RAW, 1000)))
