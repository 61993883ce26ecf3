import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from splnode.discovery.file import File, read
from splnode.discovery.resolver import Instances, Service
from splnode.errors import ConfigError


def endpoints(found: Instances) -> list[str]:
    return sorted(str(each.endpoints[0]) for each in found)


def replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


async def upcoming(sets: AsyncIterator[Instances]) -> Instances:
    return await asyncio.wait_for(anext(sets), 10)


@pytest.mark.parametrize(
    "text",
    [
        'peers = ["tcp://a:1", {endpoint = "tcp://b:2", node = "n", weight = 2.0, services = ["x.Y", "x.X"]}]',
        '[[peers]]\nendpoint = "tcp://a:1"\n[[peers]]\n'
        'endpoint = "tcp://b:2"\nnode = "n"\nweight = 2\nservices = ["x.X", "x.Y"]',
        '["tcp://a:1", {"endpoint": "tcp://b:2", "node": "n", "weight": 2, "services": ["x.X", "x.Y"]}]',
        ' {"peers": ["tcp://a:1", {"endpoint": "tcp://b:2", "node": "n", "weight": 2, "services": ["x.X", "x.Y"]}]}',
    ],
)
def test_what_a_file_may_say(tmp_path: Path, text: str) -> None:
    (tmp_path / "p").write_text(text)
    first, second = sorted(read(tmp_path / "p"), key=lambda each: str(each.endpoints))
    assert (str(first.endpoints[0]), first.services, first.weight) == ("tcp://a:1", None, 1.0)
    assert (str(second.endpoints[0]), second.node, second.weight) == ("tcp://b:2", "n", 2.0)
    assert second.services == (Service("x.X"), Service("x.Y"))
    assert second.sources == ("file",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"peers = [", "Invalid value"),
        (b"peers = [3]", "peers"),
        (b'[{"endpoint": "tcp://a:1", "wieght": 2}]', "wieght"),
        (b'[{"endpoint": "tcp://a:1", "weight": -1}]', ">= 0"),
        (b'["http://a"]', "must begin with"),
        (b"peers = ['\xff']", "utf-8"),
        (b"[" * 100_000, "p: "),
        (b"#" * (5 << 20), "larger than"),
    ],
)
def test_what_it_may_not(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        read(tmp_path / "p")
    assert str(caught.value).startswith(str(tmp_path / "p"))


async def test_a_file_is_watched_and_bad_content_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    resolver = File(path, every=0.001)
    sets = resolver.watch("some.Service")
    assert await upcoming(sets) == frozenset()
    assert "No such file" in resolver.problem
    replace(path, 'peers = ["tcp://a:1"]')
    assert endpoints(await upcoming(sets)) == ["tcp://a:1"]
    assert resolver.problem == ""
    replace(path, "peers = [")
    following = asyncio.ensure_future(upcoming(sets))
    while not resolver.problem:
        await asyncio.sleep(0)
    assert "peers.toml" in resolver.problem
    assert not following.done()
    replace(path, 'peers = ["tcp://a:1", "tcp://b:1"]')
    assert endpoints(await following) == ["tcp://a:1", "tcp://b:1"]
    path.unlink()
    following = asyncio.ensure_future(upcoming(sets))
    while not resolver.problem:
        await asyncio.sleep(0)
    assert not following.done()
    following.cancel()


async def test_a_mounted_configmap_changes_its_link(tmp_path: Path) -> None:
    for name, peer in (("one", "a"), ("two", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "peers.json").write_text(f'["tcp://{peer}:1"]')
        os.utime(tmp_path / name / "peers.json", (1, 1))
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "peers.json").symlink_to("data/peers.json")
    sets = File(tmp_path / "peers.json", every=0.001).watch()
    assert endpoints(await upcoming(sets)) == ["tcp://a:1"]
    (tmp_path / "fresh").symlink_to("two")
    (tmp_path / "fresh").replace(tmp_path / "data")
    assert endpoints(await upcoming(sets)) == ["tcp://b:1"]
