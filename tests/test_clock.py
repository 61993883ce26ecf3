"""The wall clock may jump: nothing waits by it, and where it is read there is a reason.

Deadlines, backoff, keepalive, ejections, buckets and the ages of what was heard go by the monotonic clock. The wall
clock is for what other people read, for what is compared with dates in files, and for numbers that must differ from
those of an earlier start.
"""

import ast
import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zeroconf

import splnode
from splnode.errors import CallError, Code
from splnode.node import Node
from splnode.services.store import Store
from tests.rpc.conftest import PROTOCOL, Inventory
from tests.test_node import config

ROOT = Path(__file__).parents[1]
READS = {"time", "time_ns", "now", "utcnow", "today", "ctime"}
REASONS = {
    "splnode/access/audit.py": "the time of a line; a denial that comes again is counted for a while, a jump ends that",
    "splnode/access/guard.py": "a token expires at a date",
    "splnode/balance/report.py": "shown: until when somebody is ejected",
    "splnode/cli/channels.py": "shown: how long that is",
    "splnode/cli/token.py": "a token expires at a date",
    "splnode/discovery/doctor.py": "compares this host's clock with those of others",
    "splnode/discovery/resolver.py": "the first revision of this start, so that it is none of an earlier one",
    "splnode/modules/files.py": "the age of a file that was left unfinished, by its date",
    "splnode/net/tls_mint.py": "a certificate has dates",
    "splnode/net/tls_watch.py": "a certificate has dates",
    "splnode/observe/metrics.py": "process_start_time_seconds",
    "splnode/services/checkup.py": "certificates and tokens expire at a date",
    "splnode/services/health.py": "the first revision of this start, as above",
    "splnode/services/mesh.py": "the epoch of this start, as above",
    "splnode/services/nodes.py": "shown: when somebody was heard; and a wait that is bounded by SEARCHING besides",
    "splnode/services/store_queries.py": "the time of a record, shown; which is newer is told by its version",
}


def wall_clocks(path: Path) -> Iterator[int]:
    """The lines that read the wall clock, or hand it on."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in READS:
            whose = ast.unparse(node.value)
            if whose in ("time", "datetime", "date", "datetime.datetime", "datetime.date"):
                yield node.lineno


def test_the_wall_clock_is_read_for_a_reason() -> None:
    found = {}
    for path in sorted((ROOT / "splnode").rglob("*.py")):
        lines = [
            line
            for line in wall_clocks(path)
            if "datetime.time" not in path.read_text("utf-8").splitlines()[line - 1]  # a type, and no clock
        ]
        if lines:
            found[path.relative_to(ROOT).as_posix()] = lines
    new = {name: lines for name, lines in found.items() if name not in REASONS}
    assert not new, f"time.monotonic() does not jump; for a date give the reason in {__file__}: {new}"
    assert not REASONS.keys() - found.keys()


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the wall clock so many seconds off."""
    real, off = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: real() + off[0])
    monkeypatch.setattr(time, "time", lambda: (real() + off[0]) / 1e9)

    def by(seconds: float) -> None:
        off[0] = int(seconds * 1e9)

    return by


DAY = 86_400.0
BOTH_WAYS = pytest.mark.parametrize("seconds", [DAY, -DAY, 20 * 365 * DAY, -20 * 365 * DAY])


@BOTH_WAYS
async def test_records_are_in_the_order_of_their_versions(
    tmp_path: Path, jump: Callable[[float], None], seconds: float
) -> None:
    store = Store.open(tmp_path)
    first = await store.write("t", "k", "first", None)
    jump(seconds)
    second = await store.write("t", "k", "second", None)
    assert (first["version"], second["version"]) == (1, 2)
    assert (second["timestamp"] > first["timestamp"]) == (seconds > 0)
    assert [each["data"] for each in (await store.read("t")).items] == ["second"]
    assert [each["data"] for each in (await store.read("t", history=True)).items] == ["first", "second"]
    await store.close()


@BOTH_WAYS
async def test_deadlines_pass_when_they_should(tmp_path: Path, jump: Callable[[float], None], seconds: float) -> None:
    class Jumping(Inventory):
        async def echo(self, value: Any) -> Any:
            jump(seconds)
            if value == "hang":
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            return value

    async with Node(config(tmp_path)) as node, contextlib.AsyncExitStack() as clients:
        node.serve(PROTOCOL, Jumping())
        for endpoint in (None, *node.endpoints):
            client: Any = node.client(PROTOCOL)
            if endpoint is not None:
                client = await clients.enter_async_context(splnode.connect(endpoint, PROTOCOL))
            jump(0)
            assert await client.call("echo", {"value": "back"}, timeout=30.0) == "back"
            assert await client.call("add", {"a": 1, "b": 2}, timeout=30.0) == 3
            jump(0)
            with pytest.raises(CallError) as caught:
                await client.call("echo", {"value": "hang"}, timeout=0.2)
            assert caught.value.code is Code.DEADLINE_EXCEEDED
        listed = await node.client("SPLNodeService").listNodes()
        assert [each["nodeId"] for each in listed] == [node.id]


def test_what_is_heard_by_multicast_dns_ages_by_the_monotonic_clock(jump: Callable[[float], None]) -> None:
    before = zeroconf.current_time_millis()
    jump(DAY)
    after = zeroconf.current_time_millis()
    jump(-DAY)
    assert 0 <= after - before < DAY * 500
    assert 0 <= zeroconf.current_time_millis() - before < DAY * 500
