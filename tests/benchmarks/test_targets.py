"""Each target's figure is found in the results, and its bound is on the right side."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import stacks
from benchmarks.targets import TARGETS, Figures, Target

KINDS = ("one", "flood", "large", "huge", "fan")
KEYS = {"p50": 10.0, "p99": 20.0, "rate": 1000.0, "cpu_us": 2.0, "mb_s": 50.0}


@pytest.fixture
def results() -> dict[str, Any]:
    """Everything was measured, and all stacks are alike."""
    calls = [{"stack": stack.name, "medians": dict.fromkeys(KINDS, KEYS)} for stack in stacks.STACKS]
    codecs = [
        {"record": record, "codec": codec + form, "encode_ns": 10.0, "decode_ns": 20.0}
        for record in ("small", "nested")
        for codec, forms in (("splnode native", 1), ("splnode plain", 1), ("msgspec.msgpack", 1), ("fastavro", 0))
        for form in ((", Structs", ", dicts") if forms else ("",))
    ]
    resolution = [
        {"codec": f"splnode native, {form}", "plain_ns": 10.0, "resolved_ns": 12.0} for form in ("Structs", "dicts")
    ]
    return {
        "stacks": calls,
        "codec": {"rows": codecs, "resolution": resolution},
        "idle": {"bytes_per_connection": 3000.0},
        "soak": {"growth_mib": 1.0},
        "workers": {"growth": 1.5},
        "shell": {"wall_times_python": 4.0},
    }


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.what)
def test_a_figure_is_found_for_each(target: Target, results: dict[str, Any]) -> None:
    assert target.measured(Figures(results)) is not None


def test_no_two_are_called_alike() -> None:
    assert len({target.what for target in TARGETS}) == len(TARGETS)


def test_what_is_measured_of_itself_is_one(results: dict[str, Any]) -> None:
    ratios = [target for target in TARGETS if target.what.startswith("64 in flight") and not target.unit]
    assert {target.measured(Figures(results)) for target in ratios} == {1.0}


def test_what_failed_was_not_measured(results: dict[str, Any]) -> None:
    for row in results["stacks"]:
        row["medians"] = {}
    for name in ("codec", "idle", "soak", "workers", "shell"):
        results[name] = {"failed": "no reason"}
    assert [target.what for target in TARGETS if target.measured(Figures(results)) is not None] == []


def test_bounds() -> None:
    least, most = (Target("x", 2.0, lambda figures: 0.0, least, "us") for least in (True, False))
    assert (least.is_met(2.0), least.is_met(1.9), most.is_met(2.0), most.is_met(2.1)) == (True, False, True, False)
    assert (least.wanted, most.wanted) == ("at least 2 us", "at most 2 us")


def test_the_results_that_are_kept_have_the_names_of_today() -> None:
    kept = json.loads((Path(stacks.__file__).parent / "results.json").read_text())
    assert {row["stack"] for row in kept["stacks"]} <= {stack.name for stack in stacks.STACKS}
