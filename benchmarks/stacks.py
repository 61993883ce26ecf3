"""The stacks that are compared: how each is started, what it needs, and what its numbers mean."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
AVSC = "5.7.9"

USUAL = ("one", "flood", "large")
BIG = (*USUAL, "huge")
ALL = (*BIG, "fan")
LOCAL = ("one", "flood")


@dataclass(frozen=True)
class Stack:
    """One row of the table.

    `program` is a module in benchmarks/peers, or a .js file there; `server` and `driver` are its variants
    (server None: there is no other process). `needs` are modules that must be importable, `how` says how to
    get them. `kinds` are the rounds that it takes part in (`run.ORDERS`). `pinned`: for throughput each end
    keeps to a CPU of its own; stacks that use threads do not. `note` is a footnote of the table.
    """

    name: str
    program: str
    server: str | None = "tcp"
    driver: str | None = None
    needs: tuple[str, ...] = ()
    how: str = ""
    kinds: tuple[str, ...] = USUAL
    pinned: bool = True
    note: str = ""
    env: dict[str, str] = field(default_factory=dict)

    def command(self, role: str, *arguments: str) -> list[str]:
        """The command line that starts this role."""
        if self.program.endswith(".js"):
            return ["node", str(HERE / "peers" / self.program), role, *arguments]
        return [sys.executable, "-m", f"benchmarks.peers.{self.program}", role, *arguments]

    def missing(self) -> str | None:
        """Why this stack cannot run here, with what would change it; None if it can."""
        if self.program.endswith(".js"):
            return _missing_avsc()
        if all(_is_there(name) for name in self.needs):
            return None
        return f"not installed: {self.how}"


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def _missing_avsc() -> str | None:
    if not shutil.which("node"):
        return "not installed: node (https://nodejs.org)"
    if (HERE / "node_modules" / "avsc").is_dir():
        return None
    command = ["npm", "install", "--prefix", str(HERE), "--no-save", "--no-audit", "--no-fund", f"avsc@{AVSC}"]
    if not shutil.which("npm"):
        return f"not installed: {' '.join(command)}"
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        return f"not installed: {' '.join(command)} says {done.stderr.strip().splitlines()[-1]}"
    return None


def _splnode(
    name: str,
    server: str | None,
    driver: str | None = None,
    *,
    kinds: tuple[str, ...] = USUAL,
    **env: str,
) -> Stack:
    return Stack(f"splnode, {name}", "splnode_rpc", server, driver, ("splnode",), "pip install .", kinds, env=env)


RAW = "raw echo, callbacks"
RAW_FUTURES = "raw echo, futures"
AWAIT = "await, and nothing else"
OURS = "splnode, TCP"
OURS_UNIX = "splnode, Unix"
OURS_ASYNC = "splnode, TCP, async handler"
OURS_SYNC = "splnode.sync, TCP"
OURS_LOCAL = "splnode, in process"
AVSC_TCP = "avsc (node)"
AVSC_UNIX = "avsc (node), Unix"
THRIFT = "thriftpy2, sync"
CAPNP = "pycapnp"
GRPC = "grpc.aio"

STACKS: tuple[Stack, ...] = (
    Stack(RAW, "raw", "tcp", "callbacks", kinds=ALL),
    Stack(RAW_FUTURES, "raw", "tcp", "futures", kinds=ALL),
    Stack("raw echo, futures, Unix", "raw", "unix", "futures", kinds=BIG),
    Stack("raw echo, blocking", "raw", "tcp", "blocking", kinds=("one",), note="a client without a loop"),
    _splnode("TCP", "tcp", kinds=ALL),
    _splnode("Unix", "unix", kinds=BIG),
    _splnode("TLS 1.3", "tls", "tls", kinds=BIG),
    _splnode("TCP, Structs", "tcp-structs", "structs", kinds=BIG),
    _splnode("TCP, async handler", "tcp-async", kinds=(*USUAL, "fan")),
    _splnode("balanced over 1 node", "tcp", "balanced", kinds=LOCAL),
    _splnode("balanced over 3 nodes", "tcp-3", "balanced", kinds=LOCAL),
    _splnode("TCP, plain engine", "tcp", SPLNODE_ENGINE="plain"),
    Stack(OURS_SYNC, "splnode_rpc", "tcp", "sync", ("splnode.sync",), "pip install .", kinds=("one",)),
    _splnode("in process", None, "local", kinds=LOCAL),
    Stack(AWAIT, "raw", None, "await", kinds=LOCAL, note="in process too, and neither checked nor counted"),
    Stack(AVSC_TCP, "avsc.js", kinds=ALL, pinned=False, note="Netty framing, its default"),
    Stack(AVSC_UNIX, "avsc.js", "unix", kinds=BIG, pinned=False),
    Stack(
        THRIFT,
        "thrift",
        needs=("thriftpy2",),
        how="pip install thriftpy2",
        kinds=BIG,
        note="a blocking client makes one call at a time, whatever is asked for in flight",
    ),
    Stack(CAPNP, "capnp_rpc", needs=("capnp",), how="pip install pycapnp", kinds=ALL),
    Stack("pyzmq, msgpack", "zmq_msgpack", needs=("zmq",), how="pip install pyzmq", kinds=BIG),
    Stack(
        "aiohttp, JSON",
        "aiohttp_json",
        needs=("aiohttp",),
        how="pip install aiohttp",
        note="HTTP/1.1: a connection for each call in flight; the value in base64",
    ),
    Stack(
        GRPC,
        "grpc_aio",
        needs=("grpc", "grpc_tools", "google.protobuf"),
        how="pip install grpcio grpcio-tools protobuf",
        kinds=ALL,
        pinned=False,
    ),
)
