"""For the shell's tests: a service in a thread, and a way to run commands in this process."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from splnode.avro import json_text
from splnode.cli.main import main
from tests.cli.echo import serving
from tests.cli.meshes import Mesh, running


class Done(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def results(self) -> list[Any]:
        """The JSON values on stdout, one a line."""
        return [json_text.loads(line) for line in self.out.splitlines()]


Shell = Callable[..., Done]


@pytest.fixture(scope="package")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Echo, health and reflection: a Unix socket, a TCP port, HTTP on the same port."""
    folder = tmp_path_factory.mktemp("node")
    with serving([f"unix://{folder}/s", "tcp://127.0.0.1:0"]) as endpoints:
        yield [*endpoints, endpoints[1].replace("tcp://", "http+avro://") + "/Echo"]


@pytest.fixture(scope="package")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Echo alone, as any Avro server would serve it."""
    folder = tmp_path_factory.mktemp("stock")
    with serving([f"unix://{folder}/s"], stock=True) as endpoints:
        yield endpoints[0]


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two nodes, of which the second knows the first."""
    with running(tmp_path_factory.mktemp("mesh")) as both:
        yield both


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home: no node, no profiles."""
    for name in list(os.environ):
        if name.startswith(("SPLNODE_", "XDG_")) and name != "SPLNODE_ENGINE":  # a process has one engine
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Makes a pipe with some bytes in it the stdin; gives its writing end, closed already unless `more` follows."""
    with contextlib.ExitStack() as stack:

        def feed(content: bytes, *, more: bool = False) -> int:
            reader, writer = os.pipe()
            os.write(writer, content)
            if not more:
                os.close(writer)
            monkeypatch.setattr(sys, "stdin", stack.enter_context(io.TextIOWrapper(io.FileIO(reader))))
            return writer

        yield feed


@pytest.fixture
def shell(home: Path, capsys: pytest.CaptureFixture[str], stdin: Callable[..., int]) -> Shell:
    """Runs `splnode ARGUMENTS` in this process; `to` is its --to."""

    def run(*words: str, to: str | None = None, given: bytes | None = None) -> Done:
        if given is not None:
            stdin(given)
        capsys.readouterr()
        code = main([*words, *(["--to", to] if to else [])])
        return Done(code, *capsys.readouterr())

    return run
