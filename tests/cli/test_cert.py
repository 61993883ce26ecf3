"""splnode cert: a mesh is encrypted in two commands."""

import datetime
import json
import stat
from pathlib import Path

import pytest

from splnode.net.tls import Tls
from tests.cli.conftest import Shell


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_two_commands_make_what_a_node_needs(shell: Shell, here: Path) -> None:
    [authority] = shell("cert", "init").results
    [node] = shell("cert", "node", "kitchen").results
    assert (authority["mesh"], node["node"], node["mesh"]) == ("mesh", "kitchen", "mesh")
    tls = Tls(certificate=str(here / "kitchen.pem"))
    assert (tls.serves, tls.mesh, tls.node) == (True, "mesh", "kitchen")
    assert {name: mode(here / name) for name in ("authority.key", "kitchen.key", "kitchen.pem")} == {
        "authority.key": 0o600,
        "kitchen.key": 0o600,
        "kitchen.pem": 0o644,
    }
    assert sorted(path.name for path in here.iterdir()) == [
        "authority.key", "authority.pem", "kitchen.key", "kitchen.pem",
    ]  # fmt: skip


def test_one_command_makes_a_mesh_key(shell: Shell, here: Path) -> None:
    [made] = shell("cert", "key").results
    assert mode(here / "mesh.key") == 0o600
    tls = Tls(mesh_key=str(here / "mesh.key"), node="kitchen")
    assert tls.mesh == made["mesh"]
    assert (here / "mesh.key").read_text().strip() not in json.dumps(made)


def test_names_days_and_folders(shell: Shell, here: Path) -> None:
    shell("cert", "init", "home.example.org", "--dir", "tls", "--days", "20")
    [made] = shell(
        "cert", "node", "a_b", "--dir", "tls", "--days", "9", "--host", "kitchen.local", "--host", "10.0.0.2"
    ).results
    assert mode(here / "tls") == 0o700
    [shown] = shell("cert", "show", "tls/a_b.pem").results
    assert shown["names"] == ["spiffe://home.example.org/node/a_b"]
    assert set(shown["hosts"]) == set(made["hosts"]) >= {"kitchen.local", "10.0.0.2", "localhost", "127.0.0.1", "::1"}
    assert "a_b" not in shown["hosts"], "no host can be called so"
    until = datetime.datetime.fromisoformat(shown["until"])
    assert (until - datetime.datetime.now(datetime.UTC)).days in (8, 9)


def test_nothing_is_overwritten_unless_that_is_asked(shell: Shell, here: Path) -> None:
    shell("cert", "init")
    shell("cert", "node", "kitchen")
    shell("cert", "key")
    before = {path: path.read_bytes() for path in here.iterdir()}
    for words in (("init",), ("node", "kitchen"), ("key",)):
        done = shell("cert", *words)
        assert done.code == 2 and "exists: --force overwrites it" in done.err
    assert {path: path.read_bytes() for path in here.iterdir()} == before
    tls = Tls(certificate="kitchen.pem")
    assert shell("cert", "node", "kitchen", "--force").code == 0
    assert (here / "kitchen.pem").read_bytes() != before[here / "kitchen.pem"]
    assert tls.refresh()


def test_renewing_keeps_secrets_secret(shell: Shell, here: Path) -> None:
    shell("cert", "key")
    (here / "mesh.key").chmod(0o644)
    shell("cert", "key", "--force")
    assert mode(here / "mesh.key") == 0o600


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("node", "kitchen"), "authority.pem: there is none; make the authority: splnode cert init"),
        (("init", "My Mesh"), "'My Mesh' names no mesh: small letters"),
        (("init", "--days", "0"), "not a whole number of days"),
        (("node", "a/b"), "'a/b' names no node"),
        (("node", "authority"), "a node cannot be called authority"),
        (("show", "none.pem"), "none.pem: No such file"),
        ((), "the following arguments are required"),
    ],
)
def test_what_is_wrong_is_named(shell: Shell, here: Path, words: tuple[str, ...], said: str) -> None:
    done = shell("cert", *words)
    assert done.code == 2, done
    assert said in done.err
    assert not list(here.iterdir())


def test_what_is_no_certificate(shell: Shell, here: Path) -> None:
    (here / "x.pem").write_text("hello")
    assert "x.pem: there is no certificate in it" in shell("cert", "show", "x.pem").err
