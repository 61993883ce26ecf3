"""What a worker does is shown in tests/workers."""

import os
import socket
import subprocess
import sys

from splnode.cli.main import HIDDEN, overview


def test_is_not_for_hands() -> None:
    assert "worker" in HIDDEN
    assert "  worker" not in overview()


def test_one_whose_supervisor_has_gone_ends() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, "-m", "splnode", "worker", "1", str(theirs.fileno()), str(os.getppid())],
            pass_fds=[theirs.fileno()], timeout=50, check=False,
        )  # fmt: skip
    assert done.returncode == 1  # its parent is not the process that it was to work for
