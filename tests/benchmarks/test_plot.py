"""What the picture shows, and that it can be drawn of whatever was measured."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from benchmarks import plot
from benchmarks.stacks import AWAIT, GRPC, OURS, RAW
from tests.require import require

RESULTS: dict[str, Any] = {
    "date": "2026-01-02T03:04:05",
    "rounds": 1,
    "machine": {"cpu": "C", "cores": 2},
    "versions": {"Python": "3.11"},
    "stacks": [
        {"stack": GRPC, "medians": {"flood": {"rate": 10.0}, "one": {"p50": 400.0, "p99": 500.0}}},
        {"stack": RAW, "medians": {"flood": {"rate": 1000.0}, "one": {"p50": 20.0, "p99": 25.0}}},
        {"stack": OURS, "medians": {"flood": {"rate": 400.0}}},
        {"stack": AWAIT, "medians": {"flood": {"rate": 1e6}, "one": {"p50": 0.1, "p99": 0.2}}},
        {"stack": "broken", "medians": {}},
    ],
}


def test_the_best_stand_first_and_only_what_has_another_end() -> None:
    assert [name for name, _ in plot.rows(RESULTS, "flood", "rate")] == [RAW, OURS, GRPC]
    assert plot.rows(RESULTS, "one", "p50", "p99") == [(RAW, (20.0, 25.0)), (GRPC, (400.0, 500.0))]


@pytest.mark.parametrize("stacks", [RESULTS["stacks"], []])
def test_it_is_drawn(tmp_path: Path, stacks: list[Any]) -> None:
    require(importlib.util.find_spec("matplotlib") is not None, "matplotlib", "pip install matplotlib")
    plot.draw(RESULTS | {"stacks": stacks}, tmp_path / plot.NAME)
    assert (tmp_path / plot.NAME).read_bytes().startswith(b"\x89PNG")
