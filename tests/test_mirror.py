"""The tests mirror the tree, and wait for events instead of sleeping.

Each module has its test file in the same place: splnode/avro/codec/plan.py has tests/avro/codec/test_plan.py. A
package's own `__init__.py` that has code is a module too: splnode/avro/codec has tests/avro/test_codec.py.

A test that sleeps or asserts on a measured time is slow on a good day and red on a bad one: it waits for an event
or turns a fake clock. Where there is no other way the line ends in `# clock:` and the reason.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TESTED_ELSEWHERE: dict[str, str] = {
    "splnode/__main__.py": "tests/daemon.py starts every node through it",
}  # a module, or a folder of them: where it is tested, and why there

CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "time", "time_ns"}


def has_code(path: Path) -> bool:
    """Whether a module does more than say what it is and what it re-exports."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    plain = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    return not all(isinstance(node, plain) for node in body)


def homes(module: Path) -> list[Path]:
    """The places where the tests of `module` (relative to splnode) may live; the first is the usual one."""
    if module.name != "__init__.py":
        return [module.with_name(f"test_{module.stem.lstrip('_')}.py")]
    package = module.parent.name
    if not package:
        return [module.with_name("test_splnode.py")]
    return [module.parent.with_name(f"test_{package}.py"), module.with_name(f"test_{package}.py")]


def missing(root: Path) -> list[str]:
    found = []
    for path in sorted((root / "splnode").rglob("*.py")):
        named = path.relative_to(root).as_posix()
        if any(named == known or named.startswith(f"{known}/") for known in TESTED_ELSEWHERE):
            continue
        if path.name == "__init__.py" and not has_code(path):
            continue
        places = [Path("tests") / home for home in homes(path.relative_to(root / "splnode"))]
        if not any((root / place).exists() for place in places):
            found.append(f"{named} has no {places[0]}")
    return found


def names_of(tree: ast.Module, module: str) -> set[str]:
    """What a `from module import x as y` calls its names here."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == module
        for alias in node.names
    }


def is_sleep(call: ast.Call, bare: set[str]) -> bool:
    """A sleep of more than nothing: `asyncio.sleep(0)` only lets the others run."""
    func = call.func
    named = (isinstance(func, ast.Attribute) and func.attr == "sleep") or (
        isinstance(func, ast.Name) and func.id == "sleep" and "sleep" in bare
    )
    return named and not (call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0)


def reads_clock(node: ast.AST, bare: set[str], tainted: set[str]) -> bool:
    """Whether an expression reads a real clock, or a name that was computed from one."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and inner.id in tainted:
            return True
        if not isinstance(inner, ast.Call):
            continue
        func = inner.func
        if isinstance(func, ast.Attribute) and func.attr in CLOCKS and ast.unparse(func.value) in ("time", "loop"):
            return True
        if isinstance(func, ast.Name) and func.id in CLOCKS & bare:
            return True
    return False


def timed_asserts(function: ast.AST, bare: set[str]) -> Iterator[int]:
    tainted: set[str] = set()
    for node in sorted(
        (node for node in ast.walk(function) if isinstance(node, ast.stmt)), key=lambda node: node.lineno
    ):
        if isinstance(node, ast.Assign) and reads_clock(node.value, bare, tainted):
            tainted |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.Assert) and reads_clock(node.test, bare, tainted):
            yield node.lineno


def clock_faults(root: Path) -> list[str]:
    """`file:line: rule` for each sleep and each assert on measured time below root/tests."""
    found = []
    for path in sorted((root / "tests").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        tree, lines = ast.parse(source, str(path)), source.splitlines()
        bare = names_of(tree, "time") | names_of(tree, "asyncio")
        at: dict[int, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and is_sleep(node, bare):
                at[node.lineno] = "sleeps: wait for an event (to hang for ever: await asyncio.Event().wait())"
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                at |= dict.fromkeys(timed_asserts(node, bare), "asserts on measured time: turn a fake clock")
        found += [
            f"{path.relative_to(root)}:{line}: {rule}, or give the reason on the line: # clock: ..."
            for line, rule in sorted(at.items())
            if not lines[line - 1].partition("# clock: ")[2].strip()
        ]
    return found


def test_each_module_has_its_test_file() -> None:
    assert not (found := missing(ROOT)), "\n" + "\n".join(found)


def test_what_is_tested_elsewhere_still_exists() -> None:
    gone = [name for name in TESTED_ELSEWHERE if not (ROOT / name).exists()]
    assert not gone


def test_each_package_says_what_it_is() -> None:
    folders = {path.parent for path in (ROOT / "splnode").rglob("*.py")}
    bare = [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").exists()]
    assert not bare, f"without an __init__.py a wheel leaves them out: {bare}"


def test_no_test_sleeps_or_asserts_on_time() -> None:
    assert not (found := clock_faults(ROOT)), "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "home"),
    [
        ("errors.py", "test_errors.py"),
        ("avro/_kinds.py", "avro/test_kinds.py"),
        ("avro/codec/__init__.py", "avro/test_codec.py"),
        ("avro/codec/__init__.py", "avro/codec/test_codec.py"),
        ("__init__.py", "test_splnode.py"),
    ],
)
def test_where_the_tests_of_a_module_live(tmp_path: Path, module: str, home: str) -> None:
    file, test = tmp_path / "splnode" / module, tmp_path / "tests" / home
    file.parent.mkdir(parents=True)
    test.parent.mkdir(parents=True)
    file.write_text("def f(): ...")
    assert len(missing(tmp_path)) == 1
    test.touch()
    assert missing(tmp_path) == []


def test_a_package_that_only_re_exports_needs_none(tmp_path: Path) -> None:
    (tmp_path / "splnode").mkdir()
    (tmp_path / "splnode" / "__init__.py").write_text('"""What it is."""\nfrom a import b\n__all__ = ["b"]\n')
    assert missing(tmp_path) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import time\ntime.sleep(1)", 1),
        ("import asyncio\nasync def f():\n    await asyncio.sleep(0.1)", 1),
        ("from asyncio import sleep\nasync def f(x):\n    await sleep(x)", 1),
        ("import asyncio\nasync def f():\n    await asyncio.sleep(0)", 0),
        ("import time\ntime.sleep(1)  # clock: the kernel's own timer has no other face", 0),
        ("import time\ntime.sleep(1)  # clock: ", 1),
        ("import time\ndef f():\n    t = time.monotonic()\n    d = time.monotonic() - t\n    assert d < 1", 1),
        ("import time\ndef f():\n    assert time.time() > 5", 1),
        ("def f(clock):\n    assert clock.now == 5", 0),
    ],
)
def test_sleeps_and_timed_asserts_are_found(tmp_path: Path, source: str, count: int) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text(source)
    assert len(clock_faults(tmp_path)) == count
