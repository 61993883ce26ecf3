"""The scripts, in the shells they are for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from splnode.cli.completion import SCRIPTS
from tests.cli.conftest import Shell
from tests.require import require

BASH = """
eval "$(splnode completion bash)"
try() { COMP_LINE="$1"; COMP_POINT=${#1}; COMPREPLY=(); _splnode; echo "${COMPREPLY[@]}"; }
"""
# Zsh completes in its line editor only: the completion's own functions are replaced, and say what they were given.
ZSH = """
compdef() { :; }
eval "$(splnode completion zsh)"
_describe() { print -r -- "${(P)argv[4]}"; eval "print -r -- \\${${argv[4]}[@]}" >/dev/null; print -rl -- "${(@P)4}"; }
_files() { print FILES; }
try() { LBUFFER="$1"; _splnode; }
"""


def run(shell: str, script: str, home: Path, to: str) -> list[str]:
    require(shutil.which(shell) is not None, shell, f"apt-get install {shell}")
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "SPLNODE_TO": to, "HOME": str(home)}
    found: list[str] = []
    for _ in range(5):  # who types waits half a second for the node, which may not be enough on a busy machine
        done = subprocess.run(
            [shell, *flags, "-c", script], env=env, capture_output=True, text=True, timeout=50, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        found = done.stdout.splitlines()
        if "Echo.add" in found:
            break
    return found


def test_each_shell_has_one(shell: Shell) -> None:
    for name, script in SCRIPTS.items():
        assert shell("completion", name).out == script
    assert shell("completion", "tcsh").code == 2


@pytest.fixture
def installed() -> None:
    require((Path(sys.executable).parent / "splnode").exists(), "splnode", "pip install .")


def test_bash(installed: None, home: Path, node: list[str]) -> None:
    script = (
        BASH + 'try "splnode call Echo.a"; try "splnode pi"; try "splnode call --to tcp:"; try "splnode call --bytes=h"'
    )
    assert run("bash", script, home, node[0]) == ["Echo.add", "ping", "//127.0.0.1:9090 //", "hex"]


def test_zsh(installed: None, home: Path, node: list[str]) -> None:
    script = ZSH + 'try "splnode call Echo.a"; try "splnode pi"; try "splnode serve --config "'
    found = run("zsh", script, home, node[0])
    assert "Echo.add" in found
    assert "ping:measure the round trip to a node" in found
    assert found[-1] == "FILES"


def test_fish(installed: None, home: Path, node: list[str]) -> None:
    (home / "some-file").touch()
    script = (
        'splnode completion fish | source; complete -C "splnode call Echo.a"; complete -C "splnode pi";'
        f'complete -C "splnode serve --config {home}/some"'
    )
    assert run("fish", script, home, node[0]) == [
        "Echo.add", "ping\tmeasure the round trip to a node", f"{home}/some-file",
    ]  # fmt: skip
