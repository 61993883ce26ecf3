"""What is asked, and what is made of what is heard: on a Zeroconf of its own whose packets go nowhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from zeroconf import (
    DNSIncoming,
    DNSOutgoing,
    DNSQuestionType,
    RecordUpdate,
    ServiceInfo,
    Zeroconf,
    current_time_millis,
)
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from splnode.discovery import mdns_listening as module
from splnode.discovery.heard import Heard, Record
from splnode.discovery.mdns_announcing import RESPONSE, TYPE
from splnode.discovery.mdns_listening import Listening
from splnode.discovery.resolver import Service
from splnode.discovery.txt import Txt, encode

NAME = f"a-B@n.{TYPE}"


class Ear:
    """A Listening, what it has sent, and what it believed."""

    def __init__(self, zeroconf: Zeroconf, **options: Any) -> None:
        self.zeroconf = zeroconf
        self.heard = Heard("mdns")
        self.news = asyncio.Event()
        self.taken: list[tuple[str, Record]] = []
        self.sent: list[DNSIncoming] = []
        self.listening = Listening(
            zeroconf, self.heard, self.news.set, lambda name, record: self.taken.append((name, record)), **options
        )

    def hears(self, info: ServiceInfo, *kinds: str, ttl: int | None = None) -> None:
        """These records of it come in one packet: pointer, service, text, addresses; all if none is named."""
        out = DNSOutgoing(RESPONSE)
        for kind in kinds or ("pointer", "service", "text", "addresses"):
            made = getattr(info, f"dns_{kind}")(ttl)
            for record in made if isinstance(made, list) else [made]:
                out.add_answer_at_time(record, 0)
        for packet in out.packets():
            self.zeroconf.record_manager.async_updates_from_response(DNSIncoming(packet))

    @property
    def known(self) -> set[str]:
        return {each.node for each in self.heard.instances()}


@asynccontextmanager
async def ear(monkeypatch: pytest.MonkeyPatch, **options: Any) -> AsyncIterator[Ear]:
    zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"])
    await zeroconf.zeroconf.async_wait_for_start()
    made = Ear(zeroconf.zeroconf, **options)
    monkeypatch.setattr(Zeroconf, "async_send", lambda _, out, *__: made.sent.extend(map(DNSIncoming, out.packets())))
    made.listening.start()
    try:
        yield made
    finally:
        made.listening.stop()
        await zeroconf.async_close()


def info(node: str = "n", service: str = "a.B", **others: Any) -> ServiceInfo:
    text = encode(Txt(node, 1, Service(service), **others))
    server = f"splnode-{node}.local."
    name = f"{service.replace('.', '-')}@{node}.{TYPE}"
    return ServiceInfo(TYPE, name, 9, properties=text, server=server, parsed_addresses=["10.0.0.1"])


async def test_what_is_announced_is_noted_changed_and_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ear(monkeypatch) as one:
        one.hears(info())
        assert one.known == {"n"} and one.news.is_set()
        ((name, record),) = one.taken
        assert (name, record.port, record.addresses, record.txt.node) == (NAME, 9, ("10.0.0.1",), "n")
        one.news.clear()
        one.hears(info())  # the same once more
        assert not one.news.is_set()
        one.hears(info(state="drain"), "text")
        assert {each.state for each in one.heard.instances()} == {"drain"}
        one.hears(info(), ttl=0)
        assert one.known == set()
        one.hears(info("nobody"), ttl=0)  # a goodbye of one that was never there
        assert one.known == set() and not one.listening._asking


async def test_what_came_before_anybody_listened_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ear(monkeypatch) as one:
        one.listening.stop()
        one.hears(info())
        assert one.known == set()
        one.listening.start()
        assert one.known == {"n"}
        one.hears(info())
        assert one.known == {"n"}


async def test_what_is_not_ours_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ear(monkeypatch) as one:
        printer = ServiceInfo("_ipp._tcp.local.", "p._ipp._tcp.local.", 631, server="p.local.", addresses=[bytes(4)])
        one.hears(printer)
        assert not one.news.is_set() and not one.listening._asking


@pytest.mark.parametrize(
    "order", [("pointer", "text", "service", "addresses"), ("addresses", "text", "service", "pointer")]
)
async def test_records_that_come_one_by_one(monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]) -> None:
    async with ear(monkeypatch) as one:
        for kind in order:
            one.hears(info(), kind)
        assert one.known == {"n"}
        await asyncio.sleep(0)
        assert all(task.cancelling() for task in one.listening._asking.values())  # nothing more is asked for


async def test_what_was_put_in_the_place_of_another_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ear(monkeypatch) as one:
        moved = info()
        one.hears(moved)
        moved.addresses = [bytes((10, 0, 0, 2))]
        one.hears(moved, "addresses")

        def told() -> set[str]:
            return {each.host for found in one.heard.instances() for each in found.endpoints}

        def old(seconds: float, ttl: int) -> None:
            """The record of the first address is so old, and was to last so long."""
            (record,) = (
                each
                for each in one.zeroconf.cache.async_entries_with_name("splnode-n.local.")
                if each.address == bytes((10, 0, 0, 1))
            )
            one.zeroconf.cache.async_remove_records([record])
            record.created, record.ttl = current_time_millis() - seconds * 1000, ttl
            one.zeroconf.cache.async_add_records([record])

        def sweep() -> None:
            now = current_time_millis()
            gone = [RecordUpdate(each, each) for each in one.zeroconf.cache.async_expire(now)]
            one.zeroconf.record_manager.async_updates(now, gone)
            one.zeroconf.record_manager.async_updates_complete(False)

        assert told() == {"10.0.0.1", "10.0.0.2"}
        old(2, 1)
        sweep()
        assert told() == {"10.0.0.2"}
        one.hears(info())
        assert told() == {"10.0.0.1", "10.0.0.2"}
        old(121, 120)  # nobody has taken it back: that it was not said again means nothing
        sweep()
        assert told() == {"10.0.0.1", "10.0.0.2"}
        assert not one.listening._asking


async def test_everybody_is_asked_and_those_who_are_known_need_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ear(monkeypatch) as one:
        assert one.listening.ask() == 1
        (packet,) = one.sent
        (question,) = packet.questions
        assert (question.name, question.unicast, packet.answers()) == (TYPE, True, [])
        one.hears(info())
        del one.sent[:]
        assert one.listening.ask() == 1
        (packet,) = one.sent
        assert [each.alias for each in packet.answers()] == [NAME]
        for number in range(120):
            one.hears(info(f"n{number}"))
        assert one.listening.ask() == 5
    async with ear(monkeypatch, unicast=False) as shared:  # an answer to us alone would reach only one of us
        shared.listening.ask()
        assert not shared.sent[-1].questions[0].unicast


async def test_questions_become_seldom_and_the_more_so_the_larger_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    rounds = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 7:
            rounds.set()
            await asyncio.Event().wait()

    zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"])
    await zeroconf.zeroconf.async_wait_for_start()
    one = Ear(zeroconf.zeroconf)
    asked = [1, 1, 2, 3, 3, 3]
    monkeypatch.setattr(one.listening, "ask", lambda: asked.pop(0))
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    one.listening.start()
    await asyncio.wait_for(rounds.wait(), 20)
    monkeypatch.undo()
    first, *others = slept
    assert 0.02 <= first <= 0.12
    for took, usual in zip(others, (1, 4, 16 * 2, 60 * 3, 60 * 3, 60 * 3), strict=True):
        assert 0.8 * usual <= took <= 1.2 * usual
    one.listening.stop()
    await zeroconf.async_close()


async def test_what_was_announced_in_part_is_asked_for_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_MS", 50)
    monkeypatch.setattr(module, "ASK_PAUSES", (0.0, 0.01, 0.01, 0.01))
    answers = iter((False, False, True))
    asked: list[str] = []
    full = info()

    async def request(self: AsyncServiceInfo, _zeroconf: Zeroconf, _ms: int, kind: DNSQuestionType) -> bool:
        assert kind is DNSQuestionType.QM
        asked.append(self.name)
        if next(answers):
            one.hears(full)
            return self.load_from_cache(one.zeroconf)
        return False

    monkeypatch.setattr(AsyncServiceInfo, "async_request", request)
    async with ear(monkeypatch) as one:
        one.hears(full, "pointer")
        one.hears(full, "text")
        while len(asked) < 2:
            await asyncio.sleep(0.001)  # clock: its pauses are real ones
        assert "nobody says where it is" in one.heard.rejected[NAME]
        while not one.known:
            await asyncio.sleep(0.001)  # clock: its pauses are real ones
        assert asked == [NAME] * 3
        assert one.heard.rejected == {}
        await asyncio.sleep(0)
        assert NAME not in one.listening._asking


async def test_one_that_says_goodbye_is_asked_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ear(monkeypatch) as one:
        one.hears(info(), "pointer")
        (task,) = one.listening._asking.values()
        one.hears(info(), "pointer", ttl=0)
        await asyncio.wait([task], timeout=5)
        assert task.cancelled() and not one.listening._asking


async def test_what_cannot_be_believed_is_kept_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ear(monkeypatch) as one:
        bad = info()
        bad.port = 0
        one.hears(bad)
        assert one.known == set() and one.heard.rejected == {NAME: "its port is 0"}
        assert one.taken == []
