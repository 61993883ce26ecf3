import gc
import subprocess
import sys

import pytest

from splnode.cli.main import COMMANDS, HIDDEN, command, main, overview, parser_of
from tests.cli.conftest import Shell


def test_help_names_every_command(shell: Shell) -> None:
    done = shell("--help")
    assert done.code == 0
    assert all(f"  {name}" in done.out for name in COMMANDS)
    assert done.out.strip() == overview()


def test_without_a_command_the_help_is_on_stderr(shell: Shell) -> None:
    done = shell()
    assert (done.code, done.out) == (2, "")
    assert "commands:" in done.err


def test_a_wrong_command_names_the_nearest(shell: Shell) -> None:
    done = shell("serv")
    assert (done.code, done.out) == (2, "")
    assert "did you mean serve?" in done.err
    assert "there are serve, call" in shell("xyzzy").err


def test_version_is_a_flag_too(shell: Shell) -> None:
    assert shell("--version").out == shell("version").out


@pytest.mark.parametrize("name", [*COMMANDS, *HIDDEN])
def test_each_command_has_a_parser_and_a_help(shell: Shell, name: str) -> None:
    module = command(name)
    assert parser_of(name, module).prog == f"splnode {name}"
    done = shell(name, "--help")
    assert done.code == 0
    assert done.out.startswith(f"usage: splnode {name}")


@pytest.mark.parametrize("words", [("call", "--nope"), ("ping", "-c", "0"), ("bench",), ("schema", "what", "f")])
def test_a_wrong_flag_is_2_and_on_stderr(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_a_bug_brings_its_traceback(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splnode.cli.version.versions", lambda: 1 // 0)
    done = shell("version")
    assert done.code == 1
    assert "Traceback" in done.err
    assert "a bug in splnode: ZeroDivisionError" in done.err


def test_interrupted_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("splnode.cli.version.versions", stop)
    assert main(["version"]) == 130


def test_no_command_is_imported_before_it_is_called() -> None:
    source = (
        "import sys, splnode.cli.main\n"
        "print([name for name in sys.modules if name.startswith('splnode.cli.') or name in ('asyncio', 'msgspec')])"
    )
    out = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['splnode.cli.main']"


def test_a_call_imports_no_loop_no_log_and_none_of_the_other_libraries(node: list[str]) -> None:
    source = (
        "import sys\n"
        "from splnode.cli.main import main\n"
        "code = main()\n"
        "heavy = {'asyncio', 'avro', 'h11', 'msgspec', 'structlog', 'uvloop', 'logging', 'threading', 'concurrent',"
        " 'ssl', 'dataclasses', 'inspect', 'datetime', 'decimal', 'difflib', 'hashlib', 'pathlib', 'shutil',"
        " 'subprocess', 'urllib.parse', 'uuid'}\n"
        "print(sorted(heavy & set(sys.modules)), code, file=sys.stderr)"
    )
    for words in (
        ("call", "Echo.thing", "-d", '{"text": "x"}'),
        ("call", "Echo.open", "-d", '{"value": {"a": [1, {"b": null}]}}'),
        ("ls",),
        ("health",),
        ("ping",),
    ):
        command = [sys.executable, "-c", source, *words, "--to", node[0]]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr.strip() == "[] 0", words


def test_the_collector_is_left_alone_by_who_calls_main(shell: Shell) -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    shell("version")
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
