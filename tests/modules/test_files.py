import os
import stat
from pathlib import Path

import pytest

from splnode.modules.files import FileFault, Folder


def test_written_read_and_listed(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "files")
    assert folder.entries() == []
    folder.write("a/b/c.txt", b"hello")
    folder.write("a/b/c.txt", b"hello again")
    assert folder.read("a/b/c.txt", 1000) == (b"hello again", 11)
    assert folder.read("./a//b/c.txt", 5, 6) == (b"again", 11)
    assert folder.read("a/b/c.txt", 5, 100) == (b"", 11)
    assert folder.entries("a/b") == [{"name": "c.txt", "type": "file", "size": 11}]
    assert [(each["name"], each["type"]) for each in folder.entries("")] == [("a", "folder")]
    assert stat.S_IMODE((tmp_path / "files/a/b/c.txt").stat().st_mode) == 0o600


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a\0b", "x" * 5000, ".."])
def test_a_path_that_leaves_is_refused(tmp_path: Path, path: str) -> None:
    folder = Folder(tmp_path)
    for act in (lambda: folder.read(path, 10), lambda: folder.write(path, b"x"), lambda: folder.entries(path)):
        with pytest.raises(FileFault):
            act()


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    root = tmp_path / "files"
    root.mkdir()
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    folder = Folder(root)
    for act in (
        lambda: folder.read("file", 10),
        lambda: folder.read("folder/secret", 10),
        lambda: folder.write("folder/new", b"x"),
        lambda: folder.write("file", b"x"),
        lambda: folder.entries("folder"),
    ):
        with pytest.raises(FileFault, match="link"):
            act()
    assert (outside / "secret").read_text() == "secret"
    assert [each["type"] for each in folder.entries()] == ["other", "other"]


def test_what_is_no_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("a/b", b"x")
    os.mkfifo(tmp_path / "fifo")
    for path in ("a", "fifo"):
        with pytest.raises(FileFault, match="is not a file"):
            folder.read(path, 10)
        with pytest.raises(FileFault, match="no ordinary file"):
            folder.write(path, b"x")
    for path in ("", "a/", "."):
        with pytest.raises(FileFault, match="names no file"):
            folder.write(path, b"x")
    with pytest.raises(FileFault, match="there is no 'missing'"):
        folder.read("missing", 10)
    with pytest.raises(FileFault, match="no folder"):
        folder.read("a/b/c", 10)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "fifo"]
    assert [each.name for each in (tmp_path / "a").iterdir()] == ["b"]
