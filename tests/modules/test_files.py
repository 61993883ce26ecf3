import os
import stat
import time
from pathlib import Path

import pytest

from splnode.modules import files
from splnode.modules.files import STALE, FileFault, Folder


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


def unfinished(folder: Path, age: float, name: str = ".0123456789abcdef.tmp") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"half")
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    root = tmp_path / "files"
    assert Folder(root).tidy() == 0  # which is not made for that
    assert not root.exists()
    left = [unfinished(root, STALE + 60), unfinished(root / "a/b", STALE + 60)]
    kept = [
        unfinished(root / "c", STALE - 60),  # another process may be writing it
        unfinished(root, STALE + 60, "mine.tmp"),
        unfinished(root, STALE + 60, ".0123456789abcdeg.tmp"),
        unfinished(tmp_path / "outside", STALE + 60),
    ]
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "a/.1123456789abcdef.tmp").mkdir()
    assert Folder(root).tidy() == 2
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)
    assert (root / "a/.1123456789abcdef.tmp").is_dir()
    assert Folder(root).tidy(kept[0].stat().st_mtime + STALE + 1) == 1  # it is old by then


def test_tidying_ends_where_there_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOOKED_AT", 10)
    for number in range(20):
        (tmp_path / f"file{number}").touch()
    deep = unfinished(tmp_path / "a/a/a/a/a", STALE + 60)
    assert Folder(tmp_path).tidy() == 0
    assert deep.exists()
