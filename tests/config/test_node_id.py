from pathlib import Path

import pytest

from splnode.config import Config, NodeConfig, node_id
from splnode.errors import ConfigError


def at(folder: Path, name: str | None = None) -> Config:
    return Config(node=NodeConfig(id=name, directory=str(folder)))


def test_the_name_in_the_config_goes_first_and_is_not_kept(tmp_path: Path) -> None:
    assert node_id(at(tmp_path / "d", "kitchen")) == "kitchen"
    assert not (tmp_path / "d").exists()


def test_a_name_that_was_made_is_kept(tmp_path: Path) -> None:
    made = node_id(at(tmp_path / "d"))
    assert len(made) == 12
    assert made == node_id(at(tmp_path / "d")) != node_id(at(tmp_path / "e"))
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["id"]


def test_an_empty_file_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("\n")
    assert node_id(at(tmp_path)) == (tmp_path / "id").read_text().strip() != ""


@pytest.mark.parametrize("kind", ["file", "no text"])
def test_what_cannot_be_used_is_named(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "d"
    if kind == "file":
        folder.write_text("")
    else:
        folder.mkdir()
        (folder / "id").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=f"node.directory '{folder}' cannot be used"):
        node_id(at(folder))
