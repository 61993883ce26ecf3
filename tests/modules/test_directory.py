from pathlib import Path

import pytest

from splnode.modules.directory import ModuleDirectory
from splnode.modules.errors import ExecutionError


def put(root: Path, name: str, text: str = "def execute(headers, value): ...\n") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_module_and_its_contract(tmp_path: Path) -> None:
    path = put(tmp_path, "acme/text/upper.py")
    directory = ModuleDirectory(tmp_path)
    found = directory.find("acme/text/upper")
    assert found is not None
    assert (found.path, found.contract) == (str(path), None)
    contract = put(tmp_path, "acme/text/upper.avsc", "{}")
    again = directory.find("acme/text/upper")
    assert again is not None
    assert again.contract == str(contract)
    assert again.stamp != found.stamp


def test_the_app_comes_first(tmp_path: Path) -> None:
    put(tmp_path, "acme/text/upper.py")
    path = put(tmp_path, "apps/acme/modules/text/upper.py")
    found = ModuleDirectory(tmp_path).find("acme/text/upper")
    assert found is not None
    assert found.path == str(path)


@pytest.mark.parametrize("uri", ["one", "one/two", "one/two/three"])
def test_up_to_three_parts(tmp_path: Path, uri: str) -> None:
    put(tmp_path, f"{uri}.py")
    found = ModuleDirectory(tmp_path).find(uri)
    assert found is not None
    assert found.uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/",
        "a/b/c/d",
        "../a",
        "a/../b",
        "a//b",
        "/a/b",
        "a/b/",
        ".hidden",
        "_private",
        "a.b",
        "a\0b",
        "a b",
        "é",
        "x" * 500,
    ],
)
def test_a_bad_name_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ExecutionError) as caught:
        ModuleDirectory(tmp_path).find(uri)
    assert caught.value.code == "INVALID_NAME"
    assert "package/api/method" in caught.value.message
    assert len(caught.value.message) < 600


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    directory = ModuleDirectory(tmp_path)
    assert directory.find("no/such/module") is None
    assert directory.find("folder") is None
    assert ModuleDirectory(None).find("no/such/module") is None
    assert ModuleDirectory(None).list() == []
    assert ModuleDirectory(tmp_path / "missing").list() == []


def test_a_link_must_stay_inside(tmp_path: Path) -> None:
    outside = put(tmp_path, "secret.py")
    root = tmp_path / "modules"
    inside = put(root, "a/b/real.py")
    (root / "a/b/alias.py").symlink_to(inside)
    (root / "a/b/escape.py").symlink_to(outside)
    (root / "a/up").symlink_to(tmp_path)
    (root / "a/b/real.avsc").symlink_to(outside)
    directory = ModuleDirectory(root)
    assert directory.find("a/b/alias") is not None
    for uri in ("a/b/escape", "a/up/secret", "a/b/real"):
        with pytest.raises(ExecutionError, match="a link out of the module directory"):
            directory.find(uri)


def test_a_linked_root_is_fine(tmp_path: Path) -> None:
    put(tmp_path, "real/a/b.py")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert ModuleDirectory(tmp_path / "link").find("a/b") is not None


def test_all_are_listed(tmp_path: Path) -> None:
    modules = ("one.py", "a/b.py", "a/b/c.py", "apps/x/modules/y/z.py")
    others = ("a/b/c/d.py", "a/_helper.py", "a/__pycache__/b.py", "a/b.avsc", "apps/x/modules/y/z/w.py", "a/.hidden.py")
    for name in modules + others:
        put(tmp_path, name)
    listed = ModuleDirectory(tmp_path).list()
    assert listed == ["a/b", "a/b/c", "one", "x/y/z"]
    assert all(ModuleDirectory(tmp_path).find(uri) for uri in listed)
