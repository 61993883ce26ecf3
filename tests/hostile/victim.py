"""A node as the thing that is attacked: what it costs, what it says, whether it still serves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.hostile.watch import ROOT, Bystander, hello, netty_reply
from tests.wire.conftest import long, netty, string

START = 30
BUSY = 100
"""How often a busy node is asked again: ten seconds."""
ENV = {"PYTHONPATH": str(ROOT)}
MB = 1_000_000


def execute(module: str, headers: Mapping[str, str] | None = None, value: bytes = b"\0", serial: int = 1) -> bytes:
    """A call of SPLExecuteService.execute in Netty framing; `value` is encoded, its union's index before it."""
    return netty(serial, b"\0" + string("execute") + parameters(module, headers, value))


def parameters(module: str, headers: Mapping[str, str] | None = None, value: bytes = b"\0") -> bytes:
    """An ExecuteRequest."""
    given = headers or {}
    entries = b"".join(string(key) + string(each) for key, each in given.items())
    return string(module) + (long(len(given)) + entries if given else b"") + b"\0" + value + b"\0"


class Victim:
    """`splnode serve` in `directory`, plain and synchronous. `with` starts it, and kills it in the end.

    `config` is TOML behind `[node]`; `shell` is done before it starts, by the shell that becomes the node, as in
    `ulimit -n 64;`. `log` is the whole of its stderr, unless `stderr` was given.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        config: str = "drain_seconds = 0.0",
        env: Mapping[str, str] | None = None,
        shell: str = "",
        stderr: Any = None,
    ) -> None:
        self.directory = directory
        self.unix = f"unix://{directory}/s"
        self.tcp = ""
        self.outside = ""  # another endpoint that was asked for in the options
        self._options = options
        self._env = env or {}
        self._wrapped = ["sh", "-c", shell + ' exec "$@"', "sh"] if shell else []
        self._stderr = stderr
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "test.toml"
        self.config.write_text(f'[node]\ndirectory = "state"\n{config}\n')

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(START)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def start(self) -> None:
        """Returns once it serves."""
        self.launch()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the node did not start:\n{self.log}"
        self.tcp, *outside = (each for each in json.loads(line)["listen"] if each.startswith("tcp"))
        self.outside = outside[0] if outside else ""

    def launch(self) -> None:
        """Starts the process and does not wait for it."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._wrapped, sys.executable, "-m", "splnode", "serve", "--config", str(self.config),
                 "--listen", self.unix, "--listen", "tcp://127.0.0.1:0", *self._options],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._stderr or log,
                env={**os.environ, "HOME": str(self.directory), "PYTHONPATH": str(ROOT), **self._env},
            )  # fmt: skip

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text("utf-8", "replace")

    @property
    def pid(self) -> int:
        return self.process.pid

    def memory(self, what: str = "VmRSS") -> float:
        """MB of memory that it has (VmRSS) or had at most since `forget_peak` (VmHWM)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) * 1024 / MB
        raise AssertionError(f"no {what}: the node has died\n{self.log}")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def metrics(self) -> dict[str, float]:
        """What `splnode metrics` says, by name and labels."""
        command = [sys.executable, "-m", "splnode", "metrics", "--to", self.unix]
        said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **ENV}).stdout
        lines = (line.rpartition(" ") for line in said.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def met(self, limit: str) -> float:
        """How often that limit was met."""
        return self.metrics()[f'splnode_limit_reached_total{{limit="{limit}"}}']

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - only counted

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))  # noqa: PTH208 - only counted

    def settles(self, descriptors: int) -> None:
        """Returns once it has no more descriptors than that, with room for the store's readers; fails after START."""
        until = time.monotonic() + START
        while self.descriptors > descriptors + 12 and time.monotonic() < until:
            time.sleep(0.05)  # clock: another process, that has nothing to say
        left = []
        for each in os.listdir(f"/proc/{self.pid}/fd"):  # noqa: PTH208 - of another process
            with suppress(FileNotFoundError):  # closed in this moment
                left.append(os.readlink(f"/proc/{self.pid}/fd/{each}"))  # noqa: PTH115 - as it is written there
        assert len(left) <= descriptors + 12, sorted(left)

    def cpu(self) -> float:
        """Seconds of CPU that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stays_well(self) -> None:
        """At the end of all attacks: it serves, ends as it should, and has logged no fault of its own."""
        self.serves()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(START) == 0, self.log[-4000:]
        assert "Traceback" not in self.log, self.log[-4000:]

    def serves(self, *, busy: bool = False) -> None:
        """A whole call through a module works, on a connection of its own; a `busy` node may ask to come again."""
        with hello(self.tcp) as sock:
            for _ in range(BUSY if busy else 1):
                sock.sendall(execute("spl/void/noop", {"a": "b"}, b"\x04" + string("still here")))
                _, body = netty_reply(sock)
                if b"RESOURCE_EXHAUSTED" not in body:
                    break
                time.sleep(0.1)  # clock: as long as the node asks for
            assert b"still here" in body, body

    @contextmanager
    def attacked(self, name: str, *, tracebacks: bool = False) -> Iterator[None]:
        """Around an attack: prints what it cost the node and a bystander, and asserts that the node still serves."""
        self.serves()
        self.forget_peak()
        before, cpu = self.memory(), self.cpu()
        with Bystander(self.tcp) as seen:
            yield
        self.serves()
        grown, peak = self.memory() - before, self.memory("VmHWM") - before
        self.grown, self.peak, self.spent, self.waited = grown, peak, self.cpu() - cpu, seen.waits
        print(
            f"\n{name:34} memory {grown:+6.1f} MB, at worst {peak:+6.1f} MB; {self.cpu() - cpu:5.2f} s of CPU; "
            f"a ping meanwhile: median {seen.waits['median']} p99 {seen.waits['p99']} worst {seen.waits['worst']} ms"
        )
        assert tracebacks or "Traceback" not in self.log, self.log[-4000:]
