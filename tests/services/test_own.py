from pathlib import Path

import pytest

from splnode.config import anchored_class, anchored_service
from splnode.errors import ConfigError
from splnode.services.own import load, load_resolver

PROTOCOL = '{"protocol": "Shop", "messages": {"buy": {"request": [], "response": "int"}}}'
CODE = """
from __future__ import annotations
import msgspec

class Item(msgspec.Struct):
    sku: str

class Shop:
    def buy(self) -> int:
        return 17

class Broken:
    def __init__(self) -> None:
        raise RuntimeError("no stock")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.avpr").write_text(PROTOCOL)
    (tmp_path / "own_shop.py").write_text(CODE)
    return tmp_path


def test_a_file_and_a_class_in_it(folder: Path) -> None:
    protocol, shop = load(anchored_service("shop.avpr=own_shop.py:Shop", folder))
    assert protocol.name == "Shop"
    assert shop.buy() == 17  # type: ignore[attr-defined]  # the class is in a file


def test_a_name_and_a_module() -> None:
    protocol, made = load("SPLDataService=collections:OrderedDict")
    assert protocol.name == "SPLDataService"
    assert made == {}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("shop.avpr", "write PROTOCOL=MODULE:CLASS"),
        ("=own_shop.py:Shop", "write PROTOCOL=MODULE:CLASS"),
        ("shop.avpr=own_shop.py", "write PROTOCOL=MODULE:CLASS"),
        ("none.avpr=own_shop.py:Shop", "its protocol cannot be used"),
        ("shop.avpr=none.py:Shop", "none.py cannot be loaded: FileNotFoundError"),
        ("shop.avpr=no_such_module:Shop", "no_such_module cannot be loaded: ModuleNotFoundError"),
        ("shop.avpr=own_shop.py:Store", "has no class 'Store'; its classes: Item, Shop, Broken"),
        ("shop.avpr=own_shop.py:Broken", "failed: RuntimeError: no stock"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, spec: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why.replace("(", r"\(")):
        load(anchored_service(spec, folder))


SOURCES = """
class Directory:
    name = "directory"
    def watch(self, service=""): ...
    async def announce(self, instance): ...
    async def withdraw(self): ...

class Speaker:
    async def announce(self, instance): ...
    async def withdraw(self): ...

class Nothing: ...
"""


def test_a_way_to_find_nodes(tmp_path: Path) -> None:
    (tmp_path / "own_sources.py").write_text(SOURCES)
    for name in ("Directory", "Speaker"):
        assert type(load_resolver(anchored_class(f"own_sources.py:{name}", tmp_path))).__name__ == name
    assert anchored_class("acme.consul:Consul", tmp_path) == "acme.consul:Consul"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("consul", "write MODULE:CLASS, for example consul.py:Consul"),
        ("own_sources.py:Nothing", "it has neither name and watch, as a Resolver, nor announce"),
        ("own_sources.py:Missing", "has no class 'Missing'; its classes: Directory, Speaker, Nothing"),
        ("none.py:Consul", "cannot be loaded"),
    ],
)
def test_what_is_no_way_to_find_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, why: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_sources.py").write_text(SOURCES)
    with pytest.raises(ConfigError) as caught:
        load_resolver(spec)
    assert f"resolver {spec!r}" in str(caught.value) and why in str(caught.value)
