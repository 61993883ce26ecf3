"""The README's commands in a fresh clone: no environment active, an empty HOME, from another directory."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.require import require

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file())
SCREENFUL = 70
IMPORTED = "import splnode, splnode.avro.codec as codec; print(splnode.__file__, *codec.engines())"


def run(
    command: Sequence[str | Path], cwd: Path, home: Path, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command as a newcomer would; of this environment only what leads to Python and its index remains."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SPLNODE_", "VIRTUAL_ENV"))}
    env["PATH"] = os.pathsep.join(
        entry for entry in os.environ["PATH"].split(os.pathsep) if not Path(entry).is_relative_to(ROOT)
    )
    env |= {"HOME": str(home), **(extra or {})}
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=240, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    return directory


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What is committed, elsewhere."""
    require(shutil.which("git") is not None and (ROOT / ".git").exists(), "git", "apt-get install git, in a clone")
    target = tmp_path / "a clone"  # a space in the path: every script must quote
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(target)], check=True, timeout=60)
    return target


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_a_screenful_and_names_no_machine(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= SCREENFUL
    assert "/home/" not in text
    assert "/root" not in text
    if text.startswith("#!"):
        assert os.access(script, os.X_OK), f"chmod +x {script}"


def test_without_a_python_that_serves_it_says_what_to_install(tmp_path: Path, home: Path) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = run([tmp_path / "scripts" / "splnode", "serve"], tmp_path, home, {"PYTHON": str(old)})
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A folder with the scripts whose .venv is ready, as its stamps say: nothing is installed."""
    root = tmp_path / "prepared"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    (root / "pyproject.toml").write_text("")
    (root / ".venv" / "bin").mkdir(parents=True)
    for stamp in ("", "audit"):
        (root / ".venv" / f".ready-{stamp}").write_text(f"{root}\n")
    (root / ".venv" / "bin" / "splnode").write_text("#!/bin/sh\necho it runs\n")
    (root / ".venv" / "bin" / "splnode").chmod(0o755)
    return root


def test_the_venv_of_another_clone_is_refused(prepared: Path, tmp_path: Path, home: Path) -> None:
    command = [prepared / "scripts" / "splnode", "version"]
    assert run(command, tmp_path, home).stdout == "it runs\n"
    other = tmp_path / "other"
    site = prepared / ".venv" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    path = site / "__editable__.splnode-0.1.0.pth"
    for place in (prepared, other):  # the other is not there: this clone has been moved from it
        path.write_text(f"{place}\n")
        assert run(command, tmp_path, home).stdout == "it runs\n"
    other.mkdir()
    done = run(command, tmp_path, home)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"is that of {other}: remove this .venv" in done.stderr

    (prepared / ".venv").rename(other / ".venv")
    (prepared / ".venv").symlink_to(other / ".venv")
    done = run(command, tmp_path, home)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"is a link to {other / '.venv'}, and each clone has its own: remove the link" in done.stderr


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ({"dependencies": [{"name": "a", "version": "1", "vulns": []}]}, 0, "no vulnerability is known"),
        ({"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X-1"}]}]}, 1, "a 1: X-1"),
        ({"dependencies": [{"name": "a", "skip_reason": "not found"}]}, 3, "NOT LOOKED UP: a"),
        (None, 3, "NOT LOOKED UP: anything"),
    ],
)
def test_an_audit_that_could_not_look_is_not_green(
    prepared: Path, home: Path, found: object, status: int, said: str
) -> None:
    fake = prepared / ".venv" / "bin" / "pip-audit"
    written = f"echo '{json.dumps(found)}' >\"$2\"" if found else "echo no network >&2; exit 1"
    fake.write_text(f'#!/bin/sh\nwhile [ "$1" != --output ]; do shift; done\n{written}\n')
    fake.chmod(0o755)
    (prepared / ".venv" / "bin" / "python").symlink_to(sys.executable)
    done = run([prepared / "scripts" / "audit"], prepared, home)
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done


@pytest.mark.parametrize("extra", ["test", "dev"])
def test_what_tests_need_is_pinned_with_hashes(extra: str) -> None:
    text = (ROOT / "requirements" / f"{extra}.txt").read_text()
    assert "://" not in text  # no index of this place
    pins = [line for line in text.splitlines() if line and not line.startswith(("    --hash=sha256:", "#"))]
    assert pins
    assert all("==" in pin and pin.endswith("\\") for pin in pins), pins
    pinned = {pin.partition("==")[0] for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"][extra]
    names = {re.split(r"[<>=;\[ ]", each)[0] for each in wanted}
    assert names <= pinned, f"scripts/audit --pin: {names - pinned} is not pinned"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_fresh_clone_runs(clone: Path, home: Path, tmp_path: Path) -> None:
    command = [str(clone / "scripts" / "splnode"), "version"]
    first = run(command, tmp_path, home)
    assert first.returncode == 0, first.stderr
    assert "0.1.0" in first.stdout
    assert "setting up .venv" in first.stderr
    again = run(command, tmp_path, home)
    assert (again.returncode, again.stdout, again.stderr) == (0, first.stdout, "")
    where = run([clone / ".venv" / "bin" / "python", "-c", IMPORTED], tmp_path, home)
    assert str(clone) in where.stdout, where.stderr
    status = run(["git", "status", "--porcelain"], clone, home)
    assert (status.returncode, status.stdout) == (0, "")
    assert not [path for path in home.rglob("*splnode*") if ".cache" not in path.parts]  # pip's cache alone

    moved = clone.rename(tmp_path / "moved")  # the installed command holds the old path, so it is made again
    after = run([moved / "scripts" / "splnode", "version"], tmp_path, home)
    assert (after.returncode, after.stdout) == (0, first.stdout), after.stderr


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_first_starts_at_once_do_not_meet(clone: Path, home: Path) -> None:
    env = {**os.environ, "HOME": str(home)}
    both = [
        subprocess.Popen(
            [clone / "scripts" / "splnode", "version"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert sum(errors.count("setting up") for _, errors in answers) == 1


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_without_a_compiler_the_plain_engine_serves(clone: Path, home: Path) -> None:
    done = run([clone / "scripts" / "splnode", "version"], clone, home, {"CC": "/bin/false"})
    assert done.returncode == 0, done.stderr
    engines = run([clone / ".venv" / "bin" / "python", "-c", IMPORTED], clone, home)
    assert engines.stdout.split()[-1] == "plain", engines.stderr
    assert "native" not in engines.stdout.split()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_wheel_holds_the_protocols_and_the_native_engine(clone: Path, home: Path, tmp_path: Path) -> None:
    require(shutil.which("cc") is not None, "cc", "apt-get install gcc libc6-dev python3-dev")
    python, wheels = Path(sys.prefix, "bin", "python").resolve(), tmp_path / "wheels"  # the one below .venv: it has pip
    built = run([python, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", wheels, "."], clone, home)
    assert built.returncode == 0, built.stderr
    names = zipfile.ZipFile(next(wheels.glob("splnode-*.whl"))).namelist()
    protocols = {f"splnode/protocols/{path.name}" for path in (ROOT / "protocols").glob("*.avpr")}
    assert protocols <= set(names)
    assert "splnode/py.typed" in names
    assert [name for name in names if name.startswith("splnode/avro/codec/_native.") and name.endswith(".so")]
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
