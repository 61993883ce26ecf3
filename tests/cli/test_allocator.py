import subprocess
import sys

from tests.require import require

PROGRAM = """
import resource
from splnode.cli.allocator import keep_large_buffers
assert keep_large_buffers()
for _ in range(10):
    bytes(1_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    bytearray(b"x" * 1_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_large_buffers_are_not_mapped_afresh() -> None:
    require(sys.platform == "linux", "glibc", "a Linux with glibc")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 5_000  # two buffers of 245 pages a round would be 49,000
