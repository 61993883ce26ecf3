import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from splnode.discovery import same_host as module
from splnode.discovery.resolver import Address, Instance
from splnode.discovery.same_host import SameHost, is_here, place
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code

HERE, AWAY = Endpoint("tcp", "127.0.0.1", 9), Endpoint("tcp", "198.51.100.7", 9)


def instance(node: str = "n", epoch: int = 7, *endpoints: Endpoint) -> Instance:
    return Instance(tuple(Address(each, "mdns") for each in endpoints or (HERE,)), node, epoch)


class Nodes:
    """What answers at which socket, and who was asked."""

    def __init__(self) -> None:
        self.says: dict[str, tuple[str, int]] = {}
        self.asked: list[str] = []
        self.changed = asyncio.Event()

    async def ask(self, endpoint: Endpoint) -> tuple[str, int]:
        self.asked.append(endpoint.path)
        if endpoint.path not in self.says:
            raise CallError(Code.UNAVAILABLE, f"nobody at {endpoint}")
        return self.says[endpoint.path]

    def look(self, folder: Path) -> SameHost:
        return SameHost(folder, self.ask, self.changed.set)


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Endpoint]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        yield Endpoint("unix", path=str(tmp_path / "s"))


async def asked(near: SameHost) -> None:
    """Whoever is being asked has answered."""
    if near._asking:
        await asyncio.wait(list(near._asking.values()), timeout=5)


async def test_a_node_of_this_host_is_called_over_its_socket(tmp_path: Path, nodes: Nodes, listening: Endpoint) -> None:
    one, two = nodes.look(tmp_path / "d"), nodes.look(tmp_path / "d")
    assert two.put_up("n", 7, [HERE, listening]) == ""
    nodes.says[listening.path] = ("n", 7)
    heard = instance()
    assert one.nearer(heard) == heard  # nothing is believed before it was asked
    await asyncio.wait_for(nodes.changed.wait(), 20)
    near = one.nearer(heard)
    assert [(str(each.endpoint), each.source) for each in near.addresses] == [
        (f"unix://{listening.path}", "host"), (str(HERE), "mdns"),
    ]  # fmt: skip
    assert (near.node, near.epoch) == ("n", 7)
    assert one.nearer(near) == near
    one.nearer(heard)
    assert nodes.asked == [listening.path]
    await two.close()
    assert list((tmp_path / "d").iterdir()) == []
    await one.close()
    await one.close()


async def test_whom_a_sign_does_not_speak_of(tmp_path: Path, nodes: Nodes, listening: Endpoint) -> None:
    near = nodes.look(tmp_path / "d")
    near.put_up("n", 7, [listening])
    nodes.says[listening.path] = ("n", 7)
    others = [instance("m"), instance("n", 8), instance("n", 0), instance("", 7), instance("../n", 7)]
    forged = instance("n", 7, AWAY)  # it says that it is the node, at an address of another host
    assert [near.nearer(each) for each in (*others, forged)] == [*others, forged]
    assert nodes.asked == [] and not near._asking
    near.nearer(instance())
    await asked(near)
    assert near.nearer(forged) == forged
    assert near.nearer(instance()) != instance()
    await near.close()


@pytest.mark.parametrize("claims", [("other", 7), ("n", 8)])
async def test_whoever_answers_must_be_that_node(
    tmp_path: Path, nodes: Nodes, listening: Endpoint, claims: tuple[str, int]
) -> None:
    near = nodes.look(tmp_path / "d")
    near.put_up("n", 7, [listening])
    nodes.says[listening.path] = claims
    near.nearer(instance())
    await asked(near)
    assert nodes.asked == [listening.path]
    assert near.nearer(instance()) == instance()
    await near.close()


async def test_one_that_does_not_answer_is_asked_again(
    tmp_path: Path, nodes: Nodes, listening: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.001)
    near = nodes.look(tmp_path / "d")
    near.put_up("n", 7, [listening])
    near.nearer(instance())
    while len(nodes.asked) < 2:
        await asyncio.sleep(0)
    nodes.says[listening.path] = ("n", 7)
    await asyncio.wait_for(nodes.changed.wait(), 20)
    assert near.nearer(instance()).endpoints[0] == listening
    near._known.clear()
    nodes.says.clear()
    near.nearer(instance())
    near.take_down()
    await asyncio.wait_for(asked(near), 20)  # a sign that was taken down ends it
    assert not near._asking
    await near.close()


async def test_signs_of_other_places_and_folders_of_other_people(
    tmp_path: Path, nodes: Nodes, listening: Endpoint
) -> None:
    near = nodes.look(tmp_path / "d")
    near.put_up("n", 7, [listening])
    (sign,) = (tmp_path / "d").iterdir()
    assert sign.name == f"n.7.{place()}"
    sign.rename(sign.with_name("n.7.0123456789ab"))  # the same folder, seen from another host or container
    near.nearer(instance())
    assert not near._asking and nodes.asked == []
    (tmp_path / "d").chmod(0o777)
    assert "can be written by others" in nodes.look(tmp_path / "d").put_up("m", 1, [listening])
    sign.with_name("n.7.0123456789ab").rename(sign)
    open_to_all = nodes.look(tmp_path / "d")
    open_to_all.nearer(instance())
    assert not open_to_all._asking
    (tmp_path / "d").chmod(0o700)
    if os.geteuid() == 0:
        os.chown(tmp_path / "d", 12345, 12345)
        theirs = nodes.look(tmp_path / "d")
        theirs.nearer(instance())
        assert not theirs._asking
        os.chown(tmp_path / "d", 0, 0)
        os.chown(listening.path, 12345, 12345)
        socket_of_another = nodes.look(tmp_path / "d")
        socket_of_another.nearer(instance())
        assert not socket_of_another._asking
    await near.close()


async def test_a_sign_that_leads_to_no_socket(tmp_path: Path, nodes: Nodes) -> None:
    near = nodes.look(tmp_path / "d")
    (tmp_path / "file").touch()
    for target in ("missing", "file"):
        assert near.put_up("n", 7, [Endpoint("unix", path=str(tmp_path / target))]) == ""
        near.nearer(instance())
        near._known.clear()
        near.take_down()
    assert nodes.asked == []
    assert near.put_up("n", 7, [HERE]) == ""
    assert near.put_up("no/name", 7, [Endpoint("unix", path="/x")]) == ""
    assert "Not a directory" in nodes.look(tmp_path / "file" / "d").put_up("n", 7, [Endpoint("unix", path="/x")])


async def test_signs_of_killed_nodes_are_taken_down(tmp_path: Path, nodes: Nodes, listening: Endpoint) -> None:
    folder = tmp_path / "d"
    nodes.look(folder).put_up("alive", 1, [listening])
    gone = tmp_path / "gone"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(gone))
    nodes.look(folder).put_up("killed", 1, [Endpoint("unix", path=str(gone))])
    (folder / "killed.1.0123456789ab").symlink_to("/nowhere")  # another host's, in a folder that both have
    near = nodes.look(folder)
    near.put_up("new", 2, [listening])
    assert sorted(each.name for each in folder.iterdir()) == [
        f"alive.1.{place()}", "killed.1.0123456789ab", f"new.2.{place()}",
    ]  # fmt: skip
    await near.close()


def test_which_addresses_are_here() -> None:
    assert is_here(HERE)
    assert is_here(Endpoint("unix", path="/x"))
    assert is_here(Endpoint("tcp", "localhost", 1))
    for host in ("198.51.100.7", "2001:db8::7", "fe80::7%lo", "kitchen.example.org", "0xa.example"):
        assert not is_here(Endpoint("tcp", host, 1))


async def test_what_is_known_has_an_end(tmp_path: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    near = nodes.look(tmp_path)
    for number in range(10):
        near.nearer(instance(f"n{number}"))
    assert len(near._known) == 3
