"""The orchestration, with the stacks that need nothing else installed: each made to answer once, briefly."""

from dataclasses import replace

import pytest

from benchmarks.run import compare
from benchmarks.stacks import RAW, STACKS

BY_NAME = {stack.name: stack for stack in STACKS}


@pytest.mark.slow
def test_stacks_run_and_what_fails_ends_only_itself() -> None:
    raw, ours = BY_NAME[RAW], BY_NAME["splnode, Unix"]
    broken = replace(raw, name="broken", program="no_such_peer")
    absent = replace(raw, name="absent", needs=("no_such_module",), how="pip install it")
    results = compare([raw, broken, absent, ours], ["one", "flood"], 1, 0.05)
    got = {result["stack"]: result for result in results}
    assert got["broken"]["failed"].startswith("failed:")
    assert got["absent"]["failed"] == "not installed: pip install it"
    for name in (RAW, "splnode, Unix"):
        assert got[name]["failed"] is None
        assert got[name]["medians"]["flood"]["rate"] > 0
