import subprocess
import sys

SCRIPT = """
import ctypes, resource
from splnode.access.memory import keep_private
resource.setrlimit(resource.RLIMIT_CORE, (4096, resource.getrlimit(resource.RLIMIT_CORE)[1]))
keep_private()
keep_private()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0))  # PR_GET_DUMPABLE
"""


def test_a_process_leaves_no_core_dump() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout in ("(0, 0) 0\n", "(0, 0) -1\n")  # where there is no prctl the limit has to do
