"""Names claimed, announced and given up: against a network that only notes what is sent, and answers as it is told."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from zeroconf import DNSAddress, DNSCache, DNSIncoming, DNSPointer, DNSService, DNSText, current_time_millis
from zeroconf._services.registry import ServiceRegistry

from splnode.discovery import mdns_announcing as module
from splnode.discovery.interfaces import Interface
from splnode.discovery.mdns_announcing import IN, LABEL, SRV, TYPE, Announcing, host_label, label, numbered, reachable
from splnode.discovery.resolver import Address, Instance, Service
from splnode.endpoint import Endpoint

LO = Interface("lo", 1, ("127.0.0.1",), True, "")
NAME = f"a-B@n.{TYPE}"
ETH0 = Interface("eth0", 2, ("10.0.0.2", "fd00::2"), True, "")
ETH1 = Interface("eth1", 3, ("10.1.0.2",), False, "")


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        (["tcp://0.0.0.0:9090"], (9090, ("10.0.0.2",))),
        (["tcp://0.0.0.0:9090", "tcp://[::]:9090"], (9090, ("10.0.0.2", "fd00::2"))),
        (["tcp://0.0.0.0:9090", "tcp://[::]:9091"], (9090, ("10.0.0.2",))),
        (["unix:///run/s", "tcp://127.0.0.1:1", "tcp://10.0.0.2:2"], (2, ("10.0.0.2",))),
        (["tcp://127.0.0.1:1", "tls://0.0.0.0:2"], (2, ("10.0.0.2",))),
        (["tcp://10.1.0.2:2"], (0, ())),
        (["http+avro://0.0.0.0:1/x", "tcp://0.0.0.0:2?framing=spec"], (0, ())),
    ],
)
def test_where_others_reach_us(listen: list[str], expected: tuple[int, tuple[str, ...]]) -> None:
    addresses = tuple(Address(Endpoint.parse(each), "") for each in listen)
    assert reachable(Instance(addresses), [ETH0, ETH1]) == expected


def test_names_on_the_network() -> None:
    assert label("com.acme.Inventory", "kitchen.2") == "com-acme-Inventory@kitchen-2"
    long = label("a." + "b" * 70, "n" * 63)
    assert len(long) == 63
    assert long != label("a." + "b" * 70, "n" * 62 + "m")
    assert host_label("Kitchen_1", 255) == "splnode-kitchen-1-ff"
    assert len(host_label("n" * 63, 2**40)) == 63
    assert numbered(NAME, 2) == f"a-B@n-2.{TYPE}"
    full = f"{'x' * LABEL}.{TYPE}"
    assert len(numbered(full, 2)) == len(full) and numbered(full, 2) != numbered(full, 3)


class Wire:
    """Instead of a Zeroconf: what is sent, as it would arrive, and what was heard."""

    def __init__(self) -> None:
        self.registry = ServiceRegistry()
        self.cache = DNSCache()
        self.sent: list[DNSIncoming] = []
        self.answers: Callable[[str], tuple[str, int] | None] = lambda name: None

    def async_send(self, out: Any) -> None:
        for packet in out.packets():
            self.sent.append(DNSIncoming(packet))
            for question in self.sent[-1].questions:
                place = self.answers(question.name)
                if place is not None:
                    record = DNSService(question.name, SRV, IN, 120, 0, 0, place[1], place[0])
                    record.created = current_time_millis()
                    self.cache.async_add_records([record])

    @property
    def questions(self) -> list[list[str]]:
        return [[each.name for each in packet.questions] for packet in self.sent if packet.questions]

    @property
    def said(self) -> list[DNSIncoming]:
        return [packet for packet in self.sent if packet.is_response()]

    def told(self, index: int = -1) -> dict[str, int]:
        """The names in an announcement, and how long they are to be believed."""
        return {record.alias: record.ttl for record in self.said[index].answers() if isinstance(record, DNSPointer)}


def instance(*services: str, epoch: int = 5, **others: Any) -> Instance:
    addresses = (Address(Endpoint.parse("tcp://127.0.0.1:9"), ""),)
    return Instance(addresses, "n", epoch, tuple(Service(each) for each in services), **others)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("PROBE_PAUSE", "GOODBYE_PAUSE"):
        monkeypatch.setattr(module, pause, 0.001)
    monkeypatch.setattr(module, "PAUSES", (100.0,))


async def said(ours: Announcing, wire: Wire, what: Instance, **others: Any) -> None:
    await ours.say(wire, what, [LO], **others)  # type: ignore[arg-type]  # it has what is needed


async def test_all_names_are_claimed_together_and_announced_together() -> None:
    wire, ours = Wire(), Announcing()
    await said(ours, wire, instance("a.B", "a.C", "a.D"))
    names = [f"a-{letter}@n.{TYPE}" for letter in "BCD"]
    assert wire.questions == [names] * 3  # and nothing that anybody else has to answer
    assert all(packet.num_authorities == 3 for packet in wire.sent if packet.questions)
    (packet,) = wire.said
    assert wire.told() == dict.fromkeys(names, 4500)
    answers = packet.answers()
    assert [sum(isinstance(each, kind) for each in answers) for kind in (DNSService, DNSText, DNSAddress)] == [3, 3, 1]
    assert [info.name for info in wire.registry.async_get_service_infos()] == names
    assert dict(ours.names) == dict(zip(("a.B", "a.C", "a.D"), names, strict=True))
    await said(ours, wire, instance("a.B", "a.C", "a.D"))
    assert len(wire.said) == 1  # nothing is new
    await said(ours, wire, instance("a.B", "a.C", "a.D", state="drain"))
    assert len(wire.questions) == 3
    texts = {each.name: each.text for each in wire.said[-1].answers() if isinstance(each, DNSText)}
    assert all(b"s=drain" in text for text in texts.values()) and len(texts) == 3
    await ours.end(wire)  # type: ignore[arg-type]  # it has what is needed
    assert [wire.told(place) for place in (-3, -2, -1)] == [dict.fromkeys(names, 0)] * 3
    assert all(each.ttl == 0 for each in wire.said[-1].answers())
    assert wire.registry.async_get_service_infos() == []


async def test_more_names_than_a_packet_holds() -> None:
    wire, ours = Wire(), Announcing()
    await said(ours, wire, instance(*(f"a.S{number:02}" for number in range(20))))
    assert [len(names) for names in wire.questions] == [8, 8, 4] * 3
    assert sum(isinstance(each, DNSPointer) for packet in wire.said for each in packet.answers()) == 20
    ours.forget()


async def test_a_service_that_is_served_no_more_says_goodbye_and_the_host_stays() -> None:
    wire, ours = Wire(), Announcing()
    await said(ours, wire, instance("a.B", "a.C"))
    await said(ours, wire, instance("a.B"))
    assert wire.told() == {f"a-C@n.{TYPE}": 0}
    assert not any(isinstance(each, DNSAddress) for each in wire.said[-1].answers())
    assert [info.name for info in wire.registry.async_get_service_infos()] == [NAME]
    await said(ours, wire, instance("a.B", "a.C"))
    said_by_then = len(wire.said)
    await asyncio.wait([task for task in ours._tasks if task is not ours._repeating], timeout=5)
    assert len(wire.said) == said_by_then  # it is back, and says goodbye no more
    ours.forget()


async def test_it_is_announced_eight_times_and_more_seldom_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.undo()
    assert all(later >= 2 * before for before, later in zip(module.PAUSES, module.PAUSES[1:], strict=False))
    wire, ours = Wire(), Announcing(lambda: 300)
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    await said(ours, wire, instance("a.B"))
    assert ours._repeating is not None
    await ours._repeating
    assert len(wire.said) == 8
    pauses = slept[-7:]
    assert all(4 * each <= took <= 4 * each * 1.2 for each, took in zip(module.PAUSES, pauses, strict=True))


async def test_a_name_that_another_has_is_not_taken() -> None:
    wire, ours = Wire(), Announcing()
    wire.answers = lambda name: ("Other.local.", 7) if name in (NAME, numbered(NAME, 2)) else None
    await said(ours, wire, instance("a.B", "a.C"))
    assert dict(ours.names) == {"a.B": numbered(NAME, 3), "a.C": f"a-C@n.{TYPE}"}
    await said(ours, wire, instance("a.B", "a.C", state="drain"))
    assert wire.told().keys() == {numbered(NAME, 3), f"a-C@n.{TYPE}"}
    ours.forget()
    asked, wire.registry = len(wire.questions), ServiceRegistry()
    await said(ours, wire, instance("a.B", "a.C"), anew=True)  # other sockets: it is still ours
    assert len(wire.questions) == asked == 1 + 1 + 3
    assert wire.told().keys() == {numbered(NAME, 3), f"a-C@n.{TYPE}"}
    ours.forget()


async def test_our_own_record_takes_nothing_from_us() -> None:
    wire, ours = Wire(), Announcing()
    wire.answers = lambda name: ("Splnode-N-5.local.", 9)
    await said(ours, wire, instance("a.B"))
    assert ours.names["a.B"] == NAME
    ours.forget()


async def test_a_host_that_has_every_name_keeps_nobody_off() -> None:
    wire, ours = Wire(), Announcing()
    wire.answers = lambda name: ("evil.local.", 666)
    await said(ours, wire, instance("a.B"))
    assert len(wire.questions) == module.RENAMES
    assert ours.names["a.B"].startswith("a-B@n-") and wire.told().keys() == {ours.names["a.B"]}
    ours.forget()


async def test_of_two_that_have_one_name_the_older_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wire, ours = Wire(), Announcing()
    await said(ours, wire, instance("a.B", epoch=5))

    def clashes(name: str, server: str, epoch: int) -> bool:
        return ours.clashes(wire, name, server, epoch)  # type: ignore[arg-type]  # it has what is needed

    assert not clashes(f"x.{TYPE}", "other.local.", 1)
    assert not clashes(NAME, "SPLNODE-N-5.local.", 5)  # it is our own
    assert len(wire.said) == 1
    assert not clashes(NAME.upper(), "other.local.", 6)
    assert len(wire.said) == 2  # the younger is told
    assert not clashes(NAME, "other.local.", 4)  # it was only just so
    monkeypatch.setattr(module, "CLASHES", 0.0)
    assert clashes(NAME, "other.local.", 4)
    assert wire.registry.async_get_service_infos() == []
    wire.answers = lambda name: ("other.local.", 7) if name == NAME else None
    await said(ours, wire, instance("a.B", epoch=5))
    assert ours.names["a.B"] == numbered(NAME, 2)
    assert all(ttl for packet in range(len(wire.said)) for ttl in wire.told(packet).values())  # nobody said goodbye
    ours.forget()


async def test_where_nobody_can_reach_it_nothing_is_said() -> None:
    wire, ours = Wire(), Announcing()
    await ours.say(wire, instance("a.B"), [])  # type: ignore[arg-type]  # it has what is needed
    assert wire.sent == []
    await ours.end(wire)  # type: ignore[arg-type]  # it has what is needed
    assert wire.sent == []


async def test_no_task_is_left() -> None:
    wire, ours = Wire(), Announcing()
    await said(ours, wire, instance("a.B", "a.C"))
    await said(ours, wire, instance("a.B"))
    tasks = list(ours._tasks)
    assert tasks
    ours.forget()
    await asyncio.wait(tasks, timeout=5)
    assert all(task.done() for task in tasks) and not ours._tasks
