"""splnode.cli.encryption: files of TLS, from options, the environment and profiles."""

import argparse
from pathlib import Path

import pytest

from splnode.cli import encryption, target
from splnode.cli.failure import UsageError
from splnode.endpoint import Endpoint
from tests.net.certificates import Mesh, mesh_key


def args(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    target.add_options(parser)
    return parser.parse_args(words)


def test_nothing_given_loads_nothing(home: Path) -> None:
    assert encryption.given(args()) == {}
    assert encryption.made_of({}) is None
    assert target.from_args(args()).tls is None


def test_options_before_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLNODE_MESH_KEY", "env.key")
    assert encryption.given(args()) == {"mesh_key": "env.key"}
    assert encryption.given(args("--cert", "a.pem", "--key", "b.key", "--ca", "c.pem")) == {
        "certificate": "a.pem",
        "key": "b.key",
        "authority": "c.pem",
    }
    monkeypatch.delenv("SPLNODE_MESH_KEY")
    monkeypatch.setenv("SPLNODE_CERT", "a.pem")
    monkeypatch.setenv("SPLNODE_CA", "c.pem")
    assert encryption.given(args()) == {"certificate": "a.pem", "authority": "c.pem"}


def test_a_profile_has_them_too(home: Path) -> None:
    folder = home / ".config" / "splnode"
    folder.mkdir(parents=True)
    key = mesh_key(folder)
    (folder / "shell.toml").write_text(
        f'[profile.p]\nto = "tcp://10.0.0.2:1"\nmesh-key = "{key}"\n[profile.q]\nca = 3\n'
    )
    found = target.from_args(args("--profile", "p"))
    assert found.tls is not None
    assert found.tls.dialled(found.endpoints[0]) == Endpoint("tls", "10.0.0.2", 1)
    assert found.at(found.endpoints[0]).tls is found.tls
    with pytest.raises(UsageError, match="are files, in quotes"):
        target.from_args(args("--profile", "q"))


def test_what_is_wrong_with_a_file_is_a_wrong_option(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pem"):
        target.from_args(args("--ca", str(tmp_path / "none.pem")))
    mesh = Mesh(tmp_path)
    with pytest.raises(UsageError, match="a mesh key stands alone"):
        target.from_args(args("--ca", str(mesh.ca), "--mesh-key", mesh_key(tmp_path)))
