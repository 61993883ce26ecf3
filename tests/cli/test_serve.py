"""A node as a process of its own, and the shell as others of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splnode.cli.main import command, parser_of
from splnode.cli.serve import settings_of
from splnode.errors import ConfigError

SPLNODE = [sys.executable, "-c", "import sys; from splnode.cli.main import main; sys.exit(main())"]
FAST = "[node]\ndrain_seconds = 0.0\n"


class Process:
    """A node that runs: `ready` is what it printed, `to` its Unix socket."""

    def __init__(self, home: Path, arguments: list[str], env: dict[str, str]) -> None:
        self.log = home / "node.log"
        with self.log.open("w") as stderr:
            self.process = subprocess.Popen(
                [*SPLNODE, "serve", *arguments], env=env, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.ready: dict[str, Any] = json.loads(line)
        self.to = next(each for each in self.ready["listen"] if each.startswith("unix:"))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)

    def logged(self, event: str) -> dict[str, Any]:
        """The first line of the log about `event`; waits until it is there."""
        for _ in range(2000):
            for line in self.log.read_text().splitlines():
                if line.startswith("{") and (found := json.loads(line)).get("event") == event:
                    return dict(found)
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.005)  # clock: another process writes the file, and nothing tells when
        raise AssertionError(f"no {event!r} in {self.log.read_text()}")


Start = Callable[..., Process]
Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def env(home: Path) -> dict[str, str]:
    return dict(os.environ)


@pytest.fixture
def start(home: Path, env: dict[str, str]) -> Iterator[Start]:
    running: list[Process] = []

    def begin(*arguments: str, config: str = FAST) -> Process:
        (home / "node.toml").write_text(config)
        running.append(Process(home, ["--config", str(home / "node.toml"), *arguments], env))
        return running[-1]

    yield begin
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


@pytest.fixture
def run(env: dict[str, str]) -> Run:
    def call(*words: str, given: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*SPLNODE, *words], env=env, input=given, capture_output=True, timeout=50, check=False)

    return call


def refused(env: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [*SPLNODE, "serve", *arguments], env=env, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_by_default_the_local_node(start: Start, home: Path, run: Run) -> None:
    node = start("--listen", f"unix://{home}/splnode.sock", "--listen", "tcp://127.0.0.1:0")
    assert set(node.ready) == {"node", "listen", "services"}
    assert node.ready["services"] == [
        "SPLDataService", "SPLExecuteService", "SPLNodeService", "splnode.Health", "splnode.Metrics",
        "splnode.Reflection",
    ]  # fmt: skip
    assert [each.partition("://")[0] for each in node.ready["listen"]] == ["unix", "tcp"]
    # No --to: the socket in the runtime directory.
    assert run("health").returncode == 0
    written = run("call", "SPLDataService.write", "-d", '{"topic": "t", "primaryKey": "k", "data": {"a": [1, null]}}')
    assert json.loads(written.stdout)["version"] == 1, written.stderr
    read = json.loads(run("call", "SPLDataService.read", "-d", '{"topic": "t"}').stdout)
    assert read["records"][0]["data"] == {"a": [1, None]}
    by_uri = '{"module": "spl/data/read", "headers": {"topic": "t"}}'
    assert json.loads(run("call", "SPLExecuteService.execute", "-d", by_uri).stdout)["status"] == "data"
    missing = run("call", "SPLDataService.read", "-d", '{"topic": "none"}')
    assert (missing.returncode, missing.stdout) == (66, b"")
    assert b'splnode: DataReadError {"code": "TOPIC_NOT_FOUND"' in missing.stderr
    assert node.stop() == 0
    assert run("health").returncode == 3
    assert node.process.stdout is not None
    assert node.process.stdout.read() == ""  # nothing but the one line
    assert not (home / "splnode.sock").exists()


def test_data_and_modules(start: Start, home: Path, run: Run) -> None:
    module = home / "modules" / "hello" / "world" / "greet.py"
    module.parent.mkdir(parents=True)
    module.write_text('def execute(headers, value):\n    return f"Hello, {value}!"\n')
    node = start("--listen", f"unix://{home}/s", "--modules", str(home / "modules"), "--data", str(home / "records"))
    done = run(
        "call", "SPLExecuteService.execute", "-d", '{"module": "hello/world/greet", "value": "you"}', "--to", node.to
    )
    assert json.loads(done.stdout)["value"] == "Hello, you!", done.stderr
    assert (home / "records").is_dir()


def test_a_stream_of_calls_over_one_connection(start: Start, home: Path, run: Run) -> None:
    node = start("--listen", f"unix://{home}/s")
    lines = b"".join(b'{"topic": "t", "primaryKey": "%d", "data": "x"}\n' % number for number in range(50))
    done = run("call", "SPLDataService.write", "-d", "@-", "--to", node.to, given=lines)
    assert [json.loads(line)["version"] for line in done.stdout.splitlines()] == [1] * 50, done.stderr
    page = json.loads(run("call", "SPLDataService.read", "-d", '{"topic": "t"}', "--to", node.to).stdout)
    assert [record["primaryKey"] for record in page["records"]] == [str(number) for number in range(50)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_the_second_ends(start: Start, home: Path, number: int) -> None:
    node = start("--listen", f"unix://{home}/s", config="[node]\ndrain_seconds = 60.0\n")
    node.process.send_signal(number)
    node.logged("stopping")
    assert node.process.poll() is None
    assert node.stop(number) == -number


def test_sighup_reloads(start: Start, home: Path) -> None:
    node = start("--listen", f"unix://{home}/s", "--log-format", "json")
    (home / "node.toml").write_text(FAST + "id = 'other'\n[calls]\ntimeout = 7.5\n")
    node.process.send_signal(signal.SIGHUP)
    assert node.logged("setting changed")["key"] == "calls.timeout"
    assert node.logged("setting needs a restart")["key"] == "node.id"
    (home / "node.toml").write_text("[nod]\n")
    node.process.send_signal(signal.SIGHUP)
    while "nothing was reloaded" not in node.log.read_text():
        assert node.process.poll() is None
        time.sleep(0.005)  # clock: another process writes the file, and nothing tells when
    assert node.stop() == 0


def test_what_cannot_be_served_is_2(env: dict[str, str], home: Path) -> None:
    (home / "bad.toml").write_text("[node]\nlissten = 1\n")
    assert "did you mean node.listen?" in refused(env, "--config", str(home / "bad.toml"))
    assert "cannot be read" in refused(env, "--config", str(home / "none.toml"))
    assert "--insecure" in refused(env, "--listen", "tcp://0.0.0.0:0")
    assert "endpoint 'nope'" in refused(env, "--listen", "nope")
    assert "no such directory" in refused(env, "--modules", str(home / "none"))


def test_a_taken_port_and_a_live_socket_are_2(start: Start, env: dict[str, str], home: Path) -> None:
    node = start("--listen", f"unix://{home}/s", "--listen", "tcp://127.0.0.1:0")
    for endpoint in node.ready["listen"]:
        said = refused(env, "--listen", endpoint, "--data", str(home / "other"))
        assert said.splitlines()[-1].startswith("splnode: ")
        assert endpoint in said


def test_nobody_reads_stdout(start: Start, home: Path, env: dict[str, str], run: Run) -> None:
    command = 'exec "$@" >&-'
    with (home / "log").open("w") as log:
        node = subprocess.Popen(
            ["sh", "-c", command, "sh", *SPLNODE, "serve", "--listen", f"unix://{home}/s"], env=env, stderr=log
        )
    try:
        while run("health", "--to", f"unix://{home}/s").returncode:
            assert node.poll() is None, (home / "log").read_text()
    finally:
        node.kill()
        node.wait(10)


def test_results_nobody_reads(start: Start, home: Path, env: dict[str, str]) -> None:
    node = start("--listen", f"unix://{home}/s")
    calls = '\'{"topic": "t", "primaryKey": "k"}\''
    splnode = f"{sys.executable} -c '{SPLNODE[2]}'"
    script = f"{splnode} call SPLDataService.write --to {node.to} -d {calls}"
    closed = subprocess.run(["sh", "-c", f"{script} >&-"], env=env, capture_output=True, check=False, timeout=50)
    assert closed.returncode == 2
    assert b"stdout is closed" in closed.stderr
    full = subprocess.run(["sh", "-c", f"{script} >/dev/full"], env=env, capture_output=True, check=False, timeout=50)
    assert full.returncode == 1
    assert b"No space left" in full.stderr
    assert b"Traceback" not in full.stderr
    reader, writer = os.pipe()
    os.close(reader)
    gone = subprocess.run(["sh", "-c", script], env=env, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=50)
    os.close(writer)
    assert (gone.returncode, gone.stderr) == (141, b"")


def test_ctrl_c_is_130_without_a_traceback(start: Start, home: Path, env: dict[str, str], run: Run) -> None:
    node = start("--listen", f"unix://{home}/s")
    state = run("call", "splnode.Health.check", "--to", node.to)
    watch = json.dumps({"timeoutMs": 25000, "revision": json.loads(state.stdout)["revision"]})
    waiting = subprocess.Popen(
        [*SPLNODE, "call", "splnode.Health.watch", "-d", watch, "-v", "--to", node.to],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert waiting.stderr is not None
    assert waiting.stderr.readline().startswith(b"* splnode.Health at")
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, out) == (130, b"")
    assert b"Traceback" not in err


def test_ctrl_c_at_a_keyboard_that_says_nothing(start: Start, home: Path, env: dict[str, str]) -> None:
    node = start("--listen", f"unix://{home}/s")
    waiting = subprocess.Popen(
        [*SPLNODE, "call", "splnode.Health.check", "-d", "@-", "--to", node.to],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert waiting.stdin is not None and waiting.stdout is not None
    waiting.stdin.write(b"{}\n")
    waiting.stdin.flush()
    assert b"SERVING" in waiting.stdout.readline()  # answered although the stream goes on
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(30) == 130
    assert b"Traceback" not in waiting.communicate()[1]


def test_flags_go_before_the_file(home: Path) -> None:
    (home / "c.toml").write_text('[node]\nlisten = ["tcp://127.0.0.1:1"]\n[log]\nlevel = "error"\n')
    parser = parser_of("serve", command("serve"))
    settings = settings_of(parser.parse_args(["--config", str(home / "c.toml"), "--log-format", "json"]))
    assert settings.node.listen == ("tcp://127.0.0.1:1",)
    assert (settings.log.level, settings.log.format) == ("error", "json")
    words = ["--config", str(home / "c.toml"), "--listen", "tcp://127.0.0.1:2", "--insecure", "--log-level", "debug"]
    words += ["--peer", "tcp://h:1", "--mdns", "off", "--id", "kitchen", "--service", "x.avpr=y.py:Z"]
    settings = settings_of(parser.parse_args([*words, "--data", "d", "--modules", str(home)]))
    assert settings.node.listen == ("tcp://127.0.0.1:2",)
    assert (settings.node.insecure, settings.log.level) == (True, "debug")
    assert (settings.discovery.peers, settings.discovery.mdns) == (("tcp://h:1",), "off")
    assert settings.node.id == "kitchen"
    assert settings.node.services == (f"{Path.cwd()}/x.avpr={Path.cwd()}/y.py:Z",)
    assert settings.data_directory == Path.cwd() / "d"
    assert settings.modules_directory == home
    with pytest.raises(ConfigError, match="endpoint"):
        settings_of(parser.parse_args(["--listen", "x"]))
    assert settings_of(parser.parse_args(["--policy", "p.toml"])).policy_file == Path.cwd() / "p.toml"
    with pytest.raises(ConfigError, match="endpoint"):
        settings_of(parser.parse_args(["--peer", "x"]))
    with pytest.raises(ConfigError, match="'a b' names no node"):
        settings_of(parser.parse_args(["--id", "a b"]))


def test_workers_by_flag_environment_and_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "c.toml").write_text("[node]\nworkers = 3\n")
    parser = parser_of("serve", command("serve"))

    def workers(*words: str) -> int:
        return settings_of(parser.parse_args(["--config", str(home / "c.toml"), *words])).node.workers

    assert workers() == 3
    monkeypatch.setenv("SPLNODE_WORKERS", "4")
    assert workers() == 4
    assert workers("--workers", "5") == 5
    assert workers("--workers", "0") == 0
    for wrong in ("257", "-1", "many", "1.5"):
        with pytest.raises(ConfigError, match=f"--workers {wrong}: a whole number from 0 to 256"):
            workers(f"--workers={wrong}")
    monkeypatch.setenv("SPLNODE_WORKERS", "x")
    with pytest.raises(ConfigError, match="SPLNODE_WORKERS x: a whole number"):
        workers()
