"""Imports go down. Reads every import of splnode and fails with the line that breaks a rule of the house.

The rules: a module imports from lower floors and from its own package; packages on one floor are strangers; below
`rpc` there is no loop, no clock and no socket, and in `rpc` no socket; zeroconf stays in `discovery/mdns`; nothing
is imported for type checkers alone, nothing reads pickles, and no modules import one another in a circle.
"""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = (
    (
        "errors",
        "collector",
        "frozen",
        "limits",
        "endpoint",
        "config",
        "identity",
    ),  # single modules that everybody may use, also one another
    ("avro",),
    ("wire",),
    ("rpc",),
    (
        "net",
        "discovery",
        "observe",
        "notify",
        "access",
    ),  # observe: interceptors, so above rpc, and unknown to what they watch
    ("balance", "services", "modules", "gateway", "events"),
    ("node", "sync"),
    ("workers",),  # the supervisor and the worker are both nodes
    ("cli", "testing"),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
TOP = FLOOR["cli"]
RPC = FLOOR["rpc"]

LOOP_AND_CLOCK = {"asyncio", "sched", "signal", "subprocess", "time", "uvloop"}
SOCKETS = {"http", "select", "selectors", "socket", "socketserver", "ssl", "urllib.request"}
NOW = {"now", "today", "utcnow"}  # of datetime and date: a clock by another name
DIALS = {f"{verb}_{what}" for verb in ("create", "open", "start") for what in ("connection", "server")} | {
    f"{verb}_unix_{what}" for verb in ("create", "open", "start") for what in ("connection", "server")
}
UNSAFE = {"dill", "marshal", "pickle", "shelve"}


class Import(NamedTuple):
    """One module named by one import; `top` where it runs as the module is loaded."""

    line: int
    name: str
    top: bool


class Module(NamedTuple):
    """A source file, its dotted name, and the room (`avro`, `errors`) it stands in: empty for the face."""

    path: Path
    name: str
    tree: ast.Module

    @property
    def room(self) -> str:
        return self.name.removeprefix("splnode").removeprefix(".").split(".")[0]

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def modules(root: Path) -> Iterator[Module]:
    for path in sorted((root / "splnode").rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        yield Module(path, name, ast.parse(path.read_text(encoding="utf-8"), str(path)))


def imports(module: Module) -> Iterator[Import]:
    """Every module that an import may load: `from a import b` names both a and a.b."""
    late = {
        id(inner)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(module.tree):
        top = id(node) not in late
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [base])])
            yield from (Import(node.lineno, f"{base}.{alias.name}", top) for alias in node.names)
        elif isinstance(node, ast.Call) and _last(node.func) == "import_module":
            literal = node.args[0] if node.args else None
            if isinstance(literal, ast.Constant) and isinstance(literal.value, str):
                yield Import(node.lineno, literal.value, top)


def _last(function: ast.expr) -> str:
    """The last name of what is called."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def rooms_fault(module: Module, name: str) -> str:
    """The rule broken where `module` imports `name` of splnode; empty if none is."""
    here, there = module.room, name.removeprefix("splnode").removeprefix(".").split(".")[0]
    if not here or here == there:
        return ""
    if there not in FLOOR:
        if FLOOR[here] == TOP:
            return ""
        return f"{here} imports the face of splnode, which imports everything: import the module itself"
    if FLOOR[there] > FLOOR[here]:
        return f"{here} (floor {FLOOR[here]}) imports {there} (floor {FLOOR[there]}): imports go down"
    if FLOOR[there] == FLOOR[here] != 0:
        return f"{here} and {there} are strangers on floor {FLOOR[here]}: what both need lives lower"
    return ""


def within(name: str, banned: set[str]) -> bool:
    """Whether `name` is one of the banned modules or lies in one."""
    return any(name == other or name.startswith(f"{other}.") for other in banned)


def outside_fault(module: Module, name: str) -> str:
    """The rule broken where `module` imports `name` of somebody else; empty if none is."""
    floor = FLOOR.get(module.room, TOP)
    if floor < RPC and within(name, LOOP_AND_CLOCK | SOCKETS):
        return f"{module.room} imports {name}: below rpc there is no loop, no clock and no socket"
    if floor == RPC and within(name, SOCKETS):
        return f"rpc imports {name}: sockets begin in net"
    if within(name, {"zeroconf"}) and not module.name.startswith("splnode.discovery.mdns"):
        return f"{module.name} imports zeroconf: only splnode.discovery.mdns does"
    if within(name, UNSAFE):
        return f"{module.name} imports {name}: it runs code that a peer sends"
    return ""


def code_fault(module: Module, node: ast.AST) -> str:
    """The rule broken by a node that is no import; empty if none is."""
    floor = FLOOR.get(module.room, TOP)
    if isinstance(node, ast.Name | ast.Attribute) and "TYPE_CHECKING" in (
        node.id if isinstance(node, ast.Name) else node.attr
    ):
        return "TYPE_CHECKING: the type lives a floor too high"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner, method = ast.unparse(node.func.value), node.func.attr
        if floor < RPC and method in NOW and owner.split(".")[-1] in ("datetime", "date"):
            return f"{module.room} calls {owner}.{method}(): below rpc there is no clock"
        if floor == RPC and method in DIALS:
            return f"rpc calls {owner}.{method}(): sockets begin in net"
    return ""


def faults(root: Path) -> list[str]:
    """`file:line: rule` for everything in root/splnode that breaks one."""
    found = []
    for module in modules(root):
        where = module.path.relative_to(root)
        if module.room and module.room not in FLOOR:
            found.append(f"{where}:1: {module.room} stands on no floor: give it one in FLOORS of tests/test_floors.py")
            continue
        for line, name, _ in imports(module):
            check = rooms_fault if within(name, {"splnode"}) else outside_fault
            if fault := check(module, name):
                found.append(f"{where}:{line}: {fault}")
        for node in ast.walk(module.tree):
            if fault := code_fault(module, node):
                found.append(f"{where}:{getattr(node, 'lineno', 1)}: {fault}")
    return found


def circle(root: Path) -> list[str]:
    """The names of modules that import one another in a circle while they load; empty if there is none."""
    every = {module.name: module for module in modules(root)}
    graph = {
        name: {
            target
            for found in imports(module)
            if found.top
            for target in (found.name, found.name.rpartition(".")[0])
            if target in every and target != name and not name.startswith(f"{target}.")
        }
        for name, module in every.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_imports_go_down() -> None:
    assert not (found := faults(ROOT)), "\n" + "\n".join(found)


def test_no_modules_import_each_other() -> None:
    assert not (found := circle(ROOT)), " imports ".join(reversed(found))


def test_protocols_holds_data_alone() -> None:
    strange = [path.name for path in (ROOT / "splnode" / "protocols").iterdir() if path.suffix != ".avpr"]
    assert not strange


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("avro/plan.py", "from splnode.wire import events", "imports go down"),
        ("avro/plan.py", "from ..wire import events", "imports go down"),
        ("avro/plan.py", "def late():\n    import splnode.net.connect", "imports go down"),
        ("net/a.py", "import importlib\nimportlib.import_module('splnode.node')", "imports go down"),
        ("net/a.py", "from splnode.discovery.resolver import Resolver", "strangers on floor 4"),
        ("wire/a.py", "from splnode import errors, connect", "the face of splnode"),
        ("wire/session.py", "import asyncio", "no loop, no clock"),
        ("avro/a/b.py", "from time import monotonic", "no loop, no clock"),
        ("limits.py", "from urllib import request", "no socket"),
        ("avro/a.py", "import datetime\nx = datetime.datetime.now()", "no clock"),
        ("rpc/a.py", "import socket", "sockets begin in net"),
        ("rpc/a.py", "import asyncio\nasyncio.open_connection('h', 1)", "sockets begin in net"),
        ("discovery/dns.py", "import zeroconf.asyncio", "only splnode.discovery.mdns"),
        ("rpc/a.py", "import typing\nif typing.TYPE_CHECKING: pass", "a floor too high"),
        ("node.py", "import pickle", "runs code"),
        ("misc/a.py", "", "stands on no floor"),
    ],
)
def test_a_fault_is_found(tmp_path: Path, path: str, source: str, rule: str) -> None:
    file = tmp_path / "splnode" / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    found = faults(tmp_path)
    assert len(found) == 1, found
    assert found[0].startswith(f"splnode/{path}:")
    assert rule in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("config.py", "from splnode.endpoint import Endpoint\nfrom splnode.errors import ConfigError"),
        ("avro/codec/a.py", "from splnode.avro.schema import Schema\nfrom splnode import errors\nfrom . import plan"),
        ("avro/a.py", "import datetime\nfrom datetime import time\nfrom urllib.parse import quote"),
        ("rpc/a.py", "import asyncio, time\nfrom splnode.wire import session"),
        ("discovery/mdns.py", "import zeroconf"),
        ("__init__.py", "from splnode.net.connect import connect"),
        ("cli/call.py", "import splnode\nfrom splnode.node import Node"),
    ],
)
def test_what_is_allowed(tmp_path: Path, path: str, source: str) -> None:
    file = tmp_path / "splnode" / path
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert faults(tmp_path) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    (tmp_path / "splnode" / "rpc").mkdir(parents=True)
    (tmp_path / "splnode" / "rpc" / "a.py").write_text("from splnode.rpc.b import B")
    (tmp_path / "splnode" / "rpc" / "b.py").write_text("def late():\n    from splnode.rpc import a")
    assert circle(tmp_path) == []
    (tmp_path / "splnode" / "rpc" / "b.py").write_text("from splnode.rpc import a")
    assert set(circle(tmp_path)) == {"splnode.rpc.a", "splnode.rpc.b"}
