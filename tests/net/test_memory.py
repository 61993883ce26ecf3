from pathlib import Path

import pytest

from splnode.limits import Limits
from splnode.net.memory import fitted, give_back, memory_limit

MAX, OLD = "memory.max", "memory.limit_in_bytes"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({f"sys/fs/cgroup/{MAX}": "134217728\n"}, 134217728),  # what a container sees of itself
        ({f"sys/fs/cgroup/{MAX}": "max\n"}, None),
        ({f"sys/fs/cgroup/memory/{OLD}": "9223372036854771712\n"}, None),
        ({f"sys/fs/cgroup/memory/{OLD}": "1000000\n"}, 1000000),
        ({"proc/self/cgroup": "0::/a/b\n", f"sys/fs/cgroup/a/{MAX}": "5000", f"sys/fs/cgroup/a/b/{MAX}": "7000"}, 5000),
        ({"proc/self/cgroup": "4:memory:/x\n0::/\n", f"sys/fs/cgroup/memory/x/{OLD}": "6000"}, 6000),
        ({"proc/self/cgroup": "4:cpu,memory:/x:y\n", f"sys/fs/cgroup/memory/x:y/{OLD}": "6000"}, 6000),
    ],
)
def test_where_it_is_bounded(tmp_path: Path, files: dict[str, str], limit: int | None) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert memory_limit(tmp_path) == limit


def test_limits_that_fit() -> None:
    limits = Limits()
    assert fitted(limits, None) == limits
    assert fitted(limits, 10**12) == limits
    small = fitted(limits, 128 * 2**20)
    assert (small.held_bytes, small.connection_bytes) == (16 * 2**20, 8 * 2**20)
    assert fitted(limits, 128 * 2**20, 4).held_bytes == 4 * 2**20
    assert small.connections == 4096
    assert fitted(limits, 128 * 2**20, tls=True).connections == 1365
    assert fitted(limits, 2**31).connections == limits.connections


def test_free_memory_is_given_back() -> None:
    give_back()  # wherever this runs, it does no harm; tests/hostile/test_frames.py counts what it gives
    give_back()
