"""Modules that mean harm, or do it: only their own call fails."""

import os
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.victim import Victim, execute
from tests.hostile.watch import hello, netty_reply

DEADLINE = b"DEADLINE_EXCEEDED"
FINE = b"\0\0\0\0\x04"
"""A response that is data: text."""

MODULES = {
    "forks": ("import os, time\npid = os.fork()\nif pid == 0: time.sleep(1000)\nreturn 'x'", FINE),
    "answers twice": ("import os, time\nif os.fork(): time.sleep(0.2)\nreturn 'x'", FINE),
    "closes every descriptor": ("import os\nos.closerange(0, 256)\nreturn 'x'", b"ended during the call"),
    "writes garbage everywhere": (
        "import os\nfor fd in range(256):\n    try: os.write(fd, bytes(5000))\n    except OSError: pass\nreturn 'x'",
        b"ended during the call",
    ),
    "answers for others": (
        """
        import os
        frame = b'\\0\\0\\0\\7\\0\\0\\0\\1\\0\\0\\0\\5hello'
        for fd in range(3, 256):
            try:
                for _ in range(2000): os.write(fd, frame)
            except OSError: pass
        return 'x'
        """,
        b"",
    ),
    "sends without end": (
        """
        import gc, socket
        mine = next(each for each in gc.get_objects() if isinstance(each, socket.socket))
        while True: mine.sendall(b'\\0\\0\\0\\1\\0\\0\\0\\1\\0\\x3f\\xff\\xff' + bytes(0x3fffff))
        """,
        DEADLINE,
    ),
    "prints 100 MB": ("line = 'x' * 99 + '\\n'\nfor _ in range(1_000_000): print(line, end='')\nreturn 'x'", b""),
    "recurses for ever": ("def f(): return f() + 1\nreturn f()", b"RecursionError"),
    "recurses for ever in C": ("import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f() + 1\nreturn f()", b""),
    "returns what is 100,000 deep": ("x = []\nfor _ in range(100_000): x = [x]\nreturn x", b"cannot be sent"),
    "returns itself": ("x = []\nx.append(x)\nreturn x", b"cannot be sent"),
    "allocates 10 GB": ("return len(bytearray(10_000_000_000))", b"MemoryError"),
    "allocates bit by bit": ("x = []\nwhile True: x.append(bytes(10_000_000))", b"MemoryError"),
    "returns 10 MB": ("return 'x' * 10_000_000", b"message_bytes"),
    "ignores SIGTERM": ("import signal, time\nsignal.signal(15, signal.SIG_IGN)\nwhile True: time.sleep(1)", DEADLINE),
    "stops itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", DEADLINE),
    "kills itself": ("import os\nos.kill(os.getpid(), 9)", b"ended during the call"),
    "kills its group": ("import os\nos.killpg(0, 9)", b"ended during the call"),
    "exits": ("import os\nos._exit(3)", b"exit status 3"),
    "exits politely": ("import atexit, time\natexit.register(time.sleep, 100)\nraise SystemExit(3)", b"SystemExit"),
    "starts threads that never end": (
        "import threading\nfor _ in range(50): threading.Thread(target=threading.Event().wait).start()\nreturn 'x'",
        FINE,
    ),
    "starts threads that never rest": (
        "import threading\ndef f():\n    while True: pass\nthreading.Thread(target=f).start()\nreturn 'x'",
        FINE,
    ),
    "raises 100 MB": ("raise Exception('x' * 100_000_000)", b"xxx..."),
    "reads stdin": ("return input()", b"EOFError"),
    "opens all it can": (
        "x = []\ntry:\n    while True: x.append(open('/dev/null', 'rb', 0))\nexcept OSError: return 'x'",
        FINE,
    ),
    "forbids itself descriptors": ("import resource\nresource.setrlimit(7, (0, 0))\nreturn 'x'", FINE),
    "shuts its connection": (
        "import gc, socket\nfor x in gc.get_objects():\n    if isinstance(x, socket.socket): x.shutdown(2)\nreturn 'x'",
        b"ended during the call",
    ),
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    directory = tmp_path_factory.mktemp("host")
    folder = directory / "modules" / "bad" / "ones"
    folder.mkdir(parents=True)
    for number, (body, _) in enumerate(MODULES.values()):
        text = "def execute(headers, value):\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n"
        (folder / f"m{number}.py").write_text(text)
    (folder / "fine.py").write_text("def execute(headers, value): return 'fine'\n")
    (folder / "hangs.py").write_text("import time\ndef execute(headers, value): time.sleep(1000)\n")
    config = "drain_seconds = 0.0\n[calls]\ntimeout = 3.0"
    with Victim(directory, "--modules", str(directory / "modules"), config=config) as node:
        yield node


LONG = {"sends without end", "prints 100 MB", "stops itself", "recurses for ever in C", "raises 100 MB"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in MODULES]
)
def test_only_its_own_call_fails(host: Victim, name: str) -> None:
    number, expected = list(MODULES).index(name), MODULES[name][1]
    with host.attacked(f"a module that {name}", tracebacks=True):
        with hello(host.tcp, timeout=30) as bad, hello(host.tcp, timeout=30) as good:
            bad.sendall(execute(f"bad/ones/m{number}"))
            for _ in range(3):
                good.sendall(execute("bad/ones/fine"))
                assert netty_reply(good)[1].startswith(FINE)
            answer = netty_reply(bad)[1]
    assert expected in answer, answer[:300]
    assert host.peak < 50
    assert host.descriptors < 80


def test_calls_that_hang_leave_room_for_others(host: Victim) -> None:
    with host.attacked("200 calls that hang", tracebacks=True):
        with hello(host.tcp, timeout=30) as bad, hello(host.tcp, timeout=30) as good:
            bad.sendall(execute("bad/ones/hangs") * 200)
            for _ in range(20):
                good.sendall(execute("bad/ones/fine"))
                assert netty_reply(good)[1].startswith(FINE)
    assert host.peak < 50


def test_a_peer_whose_calls_hang_leaves_places_for_others(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "hangs.py").write_text("import time\ndef execute(headers, value): time.sleep(1000)\n")
    with Victim(tmp_path, "--modules", str(tmp_path / "modules")) as host:
        with hello(host.tcp) as bad, host.attacked("1,000 calls of one peer that hang"):
            bad.sendall(execute("hangs") * 1000)
            for _ in range(20):
                host.serves()
        assert host.peak < 50


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_its_node(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "modules").mkdir()
    marker = tmp_path / "pipe"
    os.mkfifo(marker)
    body = f"import os, time\nif os.fork() == 0:\n    open({str(marker)!r}, 'w')\n    time.sleep(1000)\nreturn 'x'"
    text = "def execute(headers, value):\n" + textwrap.indent(body.replace("open(", "kept = open("), "    ")
    (tmp_path / "modules" / "forks.py").write_text(text)
    with Victim(tmp_path, "--modules", str(tmp_path / "modules")) as node:
        with hello(node.tcp) as sock:
            sock.sendall(execute("forks"))
            assert netty_reply(sock)[1].startswith(FINE)
            with marker.open() as reader:  # the child has opened it
                node.process.send_signal(number)
                assert reader.read() == ""  # and has gone
        assert node.process.wait(30) in (0, -number)
