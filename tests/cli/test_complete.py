from pathlib import Path

import pytest

from splnode.cli import complete
from splnode.cli.complete import candidates, split
from splnode.cli.main import COMMANDS
from tests.cli.conftest import Shell


def words(line: str) -> list[str]:
    return [word for word, _ in candidates(line)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", [""]),
        ("splnode ", ["splnode", ""]),
        ("splnode ca", ["splnode", "ca"]),
        ('splnode call -d \'{"a": 1', ["splnode", "call", "-d", '{"a": 1']),
        ('splnode call -d "a b" x', ["splnode", "call", "-d", "a b", "x"]),
        ("splnode call a\\ b", ["splnode", "call", "a b"]),
    ],
)
def test_split(line: str, expected: list[str]) -> None:
    assert split(line) == expected


def test_commands_and_options(home: Path) -> None:
    assert words("splnode ") == list(COMMANDS)
    assert words("splnode de") == ["describe"]
    assert words("splnode nope x") == words("") == words("splnode") == []
    assert {"--data", "--to", "--max-time", "--help"} <= set(words("splnode call --"))
    assert words("splnode call --max") == ["--max-time"]
    assert words("splnode call --bytes ") == ["base64", "utf8", "hex"]
    assert words("splnode call --bytes=h") == ["--bytes=hex"]
    assert words("splnode schema f") == ["fingerprint"]
    assert words("splnode completion ") == ["bash", "zsh", "fish"]
    assert words("splnode version ") == []


def test_files_are_left_to_the_shell(home: Path) -> None:
    for line in (
        "splnode serve --config ",
        "splnode call X.y -d ",
        "splnode schema validate ",
        "splnode call --protocol ",
    ):
        assert words(line) == []


def test_endpoints_and_profiles(home: Path) -> None:
    assert f"unix://{home}/splnode.sock" in words("splnode call --to ")
    assert words("splnode ping tcp") == ["tcp://127.0.0.1:9090", "tcp://"]
    file = home / ".config" / "splnode" / "shell.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[profile.kitchen]\nto = "tcp://k:1"\n[profile.hall]\n')
    assert candidates("splnode call --profile k") == [("kitchen", "tcp://k:1")]


def test_services_and_messages_of_the_node(home: Path, node: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLNODE_TO", node[0])
    monkeypatch.setattr(complete, "PATIENCE", 20.0)  # nobody is typing
    assert words("splnode call test.Echo.a") == ["test.Echo.add"]
    assert words("splnode call Echo.a") == ["Echo.add"]
    assert words("splnode bench -n 5 Echo.a") == ["Echo.add"]
    assert words("splnode call Echo.add x") == []
    assert candidates("splnode ls te") == [("test.Echo", "Gives back what it gets.")]
    assert words("splnode health E") == ["Echo"]
    assert words("splnode describe splnode.") == [
        "splnode.Health", "splnode.Reflection", "splnode.Health.check", "splnode.Health.watch",
        "splnode.Health.list", "splnode.Reflection.listProtocols", "splnode.Reflection.getProtocol",
        "splnode.Reflection.getSchema",
    ]  # fmt: skip
    monkeypatch.delenv("SPLNODE_TO")
    assert words(f"splnode call --to {node[1]} Echo.a") == ["Echo.add"]
    assert words(f"splnode call --to={node[1]} Echo.a") == ["Echo.add"]


def test_nothing_is_ever_said_to_a_person_who_types(shell: Shell) -> None:
    for line in ("splnode call Echo.", "splnode call --profile ", "splnode call --to nope X", "splnode call '"):
        assert shell("complete", line) == (0, "", "")
    assert shell("complete", "splnode pin").out == "ping\tmeasure the round trip to a node\n"
