import math
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from splnode.errors import CallError, Code
from splnode.observe import metrics
from splnode.observe.metrics import Family
from splnode.rpc.tally import Tally


def parsed(families: list[Family]) -> dict[str, dict[Any, float]]:
    """What Prometheus's own parser reads: by name and labels."""
    found: dict[str, dict[Any, float]] = {}
    for family in text_string_to_metric_families(metrics.text(families)):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.items())] = sample.value
    return found


def tally(*seconds: float, error: CallError | None = None) -> Tally:
    made = Tally()
    for each in seconds:
        made.begin()
        made.end(each, error)
    return made


def test_calls_by_code_and_time() -> None:
    failing = tally(0.5, error=CallError(Code.NOT_FOUND, "no"))
    failing.begin()
    found = parsed(metrics.calls({"a.Service": {"good": tally(0.000_003, 0.25), "bad": failing, "idle": Tally()}}))
    assert found["splnode_calls_total"] == {
        (("service", "a.Service"), ("message", "good"), ("code", "OK")): 2,
        (("service", "a.Service"), ("message", "bad"), ("code", "OK")): 0,
        (("service", "a.Service"), ("message", "bad"), ("code", "NOT_FOUND")): 1,
        (("service", "a.Service"), ("message", "idle"), ("code", "OK")): 0,
    }
    assert found["splnode_calls_in_flight"][("service", "a.Service"), ("message", "bad")] == 1
    good = (("service", "a.Service"), ("message", "good"))
    assert found["splnode_call_seconds_count"][good] == 2
    assert found["splnode_call_seconds_sum"][good] == pytest.approx(0.250003)
    buckets = {
        dict(key)["le"]: value for key, value in found["splnode_call_seconds_bucket"].items() if key[1] == good[1]
    }
    assert (buckets["2e-06"], buckets["4e-06"], buckets["+Inf"]) == (0, 1, 2)
    assert list(buckets.values()) == sorted(buckets.values())  # each has those below it
    assert not any("idle" in dict(key).values() for key in found["splnode_call_seconds_bucket"])


def test_this_process() -> None:
    found = parsed([*metrics.process({"process": "worker 1"}), metrics.build("1.2", "native")])
    label = (("process", "worker 1"),)
    assert 1e6 < found["process_resident_memory_bytes"][label] < found["process_virtual_memory_bytes"][label]
    assert found["process_open_fds"][label] < found["process_max_fds"][label]
    assert found["process_cpu_seconds_total"][label] > 0
    assert 1.6e9 < found["process_start_time_seconds"][label] < 1e10
    assert [dict(key)["version"] for key in found["splnode_build_info"]] == ["1.2"]
    assert "process_cpu_seconds_total" in parsed(metrics.process())


def test_processes_are_added_up() -> None:
    parts = [
        [*metrics.calls({"S": {"m": tally(*[0.1] * count)}}), *metrics.process({"process": str(count)})]
        for count in (1, 2)
    ]
    found = parsed(metrics.merge(parts))
    assert found["splnode_calls_total"] == {(("service", "S"), ("message", "m"), ("code", "OK")): 3}
    assert found["splnode_call_seconds_count"] == {(("service", "S"), ("message", "m")): 3}
    assert len(found["process_open_fds"]) == 2
    assert metrics.merge([]) == []
    assert parsed(metrics.merge(parts[:1])) == parsed(parts[0])


def test_what_lasts_when_a_process_ends() -> None:
    kept = metrics.lasting([*metrics.calls({"S": {"m": tally(0.1)}}), *metrics.places(1, 2)])
    assert [family["name"] for family in kept] == ["splnode_calls_total", "splnode_call_seconds"]


def test_any_text_is_escaped() -> None:
    odd = 'a "quoted"\\ \n name'
    found = parsed([metrics.family("x_total", "COUNTER", "back\\slash\nand line", [({"label": odd}, 2**60 + 0.5)])])
    assert found == {"x_total": {(("label", odd),): float(2**60)}}


def test_numbers() -> None:
    numbers = [0, 1, -3, 0.1, 1e-9, 2**52, 1e300, math.inf, -math.inf]
    found = parsed([metrics.family("x", "GAUGE", "Any.", [({"n": str(n)}, value) for n, value in enumerate(numbers)])])
    assert list(found["x"].values()) == numbers
    assert metrics.text([metrics.family("x", "GAUGE", "None.", [])]) == ""


def test_who_was_denied() -> None:
    denied, lost = metrics.access({"PERMISSION_DENIED": 2, "UNAUTHENTICATED": 0}, 3)
    assert [(each["labels"], each["value"]) for each in denied["samples"]] == [
        ({"code": "PERMISSION_DENIED"}, 2.0),
        ({"code": "UNAUTHENTICATED"}, 0.0),
    ]
    assert lost["samples"][0]["value"] == 3


def test_connections() -> None:
    found = parsed(metrics.traffic(1, 2, 3, 4, 5))
    assert [sum(each.values()) for each in found.values()] == [1, 2, 3, 4, 5]
