"""The README's first five minutes, word for word, against a node that this test starts."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.require import require

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MINUTES = README.partition("## The first five minutes")[2].partition("\n## ")[0]
AVSC = ROOT / "tests" / "interop" / "node_modules"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def snippets(language: str, containing: str = "") -> list[str]:
    """The code blocks of a language that hold a text, in order."""
    found = re.findall(rf"^```{language}\n(.*?)^```", MINUTES, re.DOTALL | re.MULTILINE)
    return [block for block in found if containing in block]


class Newcomer:
    """A home, the commands on the PATH, and a node: what the README's reader has by then."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("SPLNODE_", "XDG_"))}
        self.env |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "NODE_PATH": str(AVSC)}
        self.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{self.env['PATH']}"
        self.nodes: list[subprocess.Popen[str]] = []
        self.port = 0

    def serve(self, *arguments: str) -> dict[str, Any]:
        """Starts a node and gives the line that it prints once it serves."""
        log = self.home / f"node-{len(self.nodes)}.log"
        command = ["splnode", "serve", *arguments]
        with log.open("w") as stderr:
            node = subprocess.Popen(command, env=self.env, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True)
        self.nodes.append(node)
        assert node.stdout is not None
        line = node.stdout.readline()
        assert line, log.read_text()
        ready: dict[str, Any] = json.loads(line)
        return ready

    def type(self, command: str) -> list[Any]:
        """Types a command and reads its results, one JSON value a line."""
        return [json.loads(line) for line in self.run("sh", "-ec", command).splitlines()]

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def run_file(self, program: str, name: str, source: str) -> str:
        file = self.home / name
        file.write_text(source.replace("9090", str(self.port)))
        return self.run(program, str(file))


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    person = Newcomer(tmp_path_factory.mktemp("home"))
    require(
        shutil.which("splnode", path=person.env["PATH"]) is not None, "splnode", "scripts/splnode (it sets up .venv)"
    )
    try:
        ready = person.serve("--listen", "tcp://127.0.0.1:0", "--listen", f"unix://{person.home}/splnode.sock")
        person.port = next(int(text.rpartition(":")[2]) for text in ready["listen"] if text.startswith("tcp:"))
        person.type(snippets("sh", "SPLDataService.write")[0])
        yield person
    finally:
        for node in person.nodes:
            node.terminate()
        for node in person.nodes:
            node.communicate(timeout=40)


def test_a_record_is_written_and_read(newcomer: Newcomer) -> None:
    written, page = newcomer.type(snippets("sh", "SPLDataService.write")[0])
    assert written["version"] >= 1
    assert page["records"][0]["primaryKey"] == "ada"
    assert page["records"][0]["data"] == {"name": "Ada", "born": 1815}


def test_the_same_by_module_uri(newcomer: Newcomer) -> None:
    _, read = newcomer.type(snippets("sh", "spl/data/write")[0])
    assert "grace" in json.dumps(read)


def test_the_node_is_seen(newcomer: Newcomer) -> None:
    for command in snippets("sh", "splnode ls")[0].splitlines():
        assert newcomer.run("sh", "-ec", command), command


@pytest.mark.parametrize(
    ("language", "program", "name"), [("js", lambda: "node", "read.js"), ("python", lambda: sys.executable, "read.py")]
)
def test_another_language_calls_it(newcomer: Newcomer, language: str, program: Callable[[], str], name: str) -> None:
    if language == "js":
        require(shutil.which("node") is not None, "node", "apt-get install nodejs npm")
        require((AVSC / "avsc").is_dir(), "avsc", "npm install --prefix tests/interop")
    answer = newcomer.run_file(program(), name, snippets(language)[0])
    assert "ada" in answer
    assert "1" in answer


def test_a_module_is_found_by_the_next_call(newcomer: Newcomer, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    block = snippets("sh", "hello/world")[0].replace("/tmp/modules", str(tmp_path / "modules")).replace("9191", port)
    make, serve, call = re.fullmatch(r"(.*)scripts/splnode serve ([^#\n]*)[^\n]*\n(.*)", block, re.DOTALL).groups()  # type: ignore[union-attr]  # it fits, or the README must be mended
    newcomer.run("sh", "-ec", make)
    newcomer.serve(*serve.split())
    (answer,) = newcomer.type(call)
    assert answer["value"] == "Hello, you!"
