import subprocess
import sys

import pytest

from tests.require import require

PROGRAM = """
import resource, sys
from splnode.cli.allocator import keep_large_buffers
size, *most = map(int, sys.argv[1:])
assert keep_large_buffers(*most)
for _ in range(3):
    bytearray(b"x" * size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytearray(b"x" * size)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


FRUGAL = """
import threading
from pathlib import Path
from splnode.cli.allocator import keep_large_buffers
assert keep_large_buffers(4_000_000, 128 * 2**20)

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def use():
    for _ in range(3):
        bytearray(b"x" * 4_000_000)

before = resident()
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resident() - before)
"""


def test_with_little_memory_none_is_kept() -> None:
    require(sys.platform == "linux", "glibc", "a Linux with glibc")
    done = subprocess.run([sys.executable, "-c", FRUGAL], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 3_000_000


@pytest.mark.parametrize("sizes", [(1_000_000,), (4_000_000,), (16_000_000, 16_777_216), (1_000_000, 2**31 - 1)])
def test_large_buffers_are_not_mapped_afresh(sizes: tuple[int, ...]) -> None:
    require(sys.platform == "linux", "glibc", "a Linux with glibc")
    command = [sys.executable, "-c", PROGRAM, *map(str, sizes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 2 * 20 * sizes[0] / 4096 / 10  # two buffers a round, each of so many pages
