import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from splnode.avro.fingerprint import resolution_fingerprint
from splnode.avro.protocol import Protocol
from splnode.discovery import verdicts as module
from splnode.discovery.resolver import Address, Instance, Service
from splnode.discovery.verdicts import Verdicts
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code


def protocol(response: str) -> Protocol:
    messages = {"ask": {"request": [], "response": response}, "tell": {"request": [], "response": "null"}}
    return Protocol.parse(json.dumps({"protocol": "x.Shop", "types": [], "messages": messages}))


OURS, WIDER, STRANGE = protocol("long"), protocol("int"), protocol("string")


def instance(serves: Protocol | bytes | None, port: int = 1, epoch: int = 1) -> Instance:
    printed = resolution_fingerprint(serves) if isinstance(serves, Protocol) else serves
    services = None if printed is None else (Service("x.Shop", resolution=printed),)
    return Instance((Address(Endpoint("tcp", "10.0.0.1", port), "mdns"),), "n", epoch, services)


class Asked:
    """Answers with a protocol, and counts."""

    def __init__(self, answer: Protocol | Callable[[], Any]) -> None:
        self.answer = answer
        self.times = 0

    async def __call__(self, instance: Instance, service: str) -> Protocol:
        self.times += 1
        await asyncio.sleep(0)
        return self.answer if isinstance(self.answer, Protocol) else self.answer()


def fails() -> Protocol:
    raise CallError(Code.UNAVAILABLE, "no such luck")


async def test_our_own_version_needs_no_question() -> None:
    asked = Asked(fails)
    found = await Verdicts(asked).of(OURS, instance(OURS))
    assert found is not None and {each.fit for each in found.values()} == {"same"}
    assert asked.times == 0


async def test_each_version_is_asked_for_once_whoever_has_it() -> None:
    asked = Asked(STRANGE)
    verdicts = Verdicts(asked)
    for port in (1, 2, 3):
        found = await verdicts.of(OURS, instance(STRANGE, port))
        assert found is not None
        assert [found["ask"].fit, found["tell"].fit] == ["misfit", "same"]
    assert asked.times == 1
    assert verdicts.misfit(OURS, instance(STRANGE, 4), "tell") == ""
    assert "response: the writer's string" in verdicts.misfit(OURS, instance(STRANGE, 4), "ask")


async def test_what_is_not_known_is_not_refused_but_asked() -> None:
    changed = asyncio.Event()
    verdicts = Verdicts(Asked(STRANGE), changed.set)
    assert verdicts.misfit(OURS, instance(STRANGE), "ask") == ""
    await asyncio.wait_for(changed.wait(), 20)
    assert verdicts.misfit(OURS, instance(STRANGE), "ask")
    assert verdicts.misfit(OURS, instance(None), "ask") == ""
    await verdicts.close()


async def test_an_instance_that_says_no_fingerprint_is_asked() -> None:
    verdicts = Verdicts(Asked(WIDER))
    for silent in (instance(b"", 1), instance(None, 2)):
        found = await verdicts.of(OURS, silent)
        assert found is not None and found["ask"].fit == "resolved"
    assert await verdicts.text("x.Shop", instance(None, 2)) == WIDER


async def test_a_lie_is_told_and_what_is_served_counts() -> None:
    verdicts = Verdicts(Asked(STRANGE))
    liar = instance(WIDER)
    await verdicts.of(OURS, liar)
    assert "and serves" in verdicts.lie(liar, "x.Shop")
    assert verdicts.misfit(OURS, liar, "ask")
    assert verdicts.lie(instance(WIDER, 2), "x.Shop") == ""
    assert verdicts.known(OURS, instance(WIDER, 2)) is None  # the true ones are not blamed


async def test_who_does_not_answer_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(fails)
    verdicts = Verdicts(asked)
    assert await verdicts.of(OURS, instance(STRANGE)) is None
    assert await verdicts.of(OURS, instance(STRANGE)) is None
    assert asked.times == 1
    assert "no such luck" in verdicts.trouble(instance(STRANGE), "x.Shop")
    clock = module.time.monotonic() + module.AGAIN + 1
    monkeypatch.setattr(module.time, "monotonic", lambda: clock)
    asked.answer = STRANGE
    assert await verdicts.of(OURS, instance(STRANGE)) is not None
    assert verdicts.trouble(instance(STRANGE), "x.Shop") == ""


async def test_a_crowd_is_asked_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASKING", 2)
    monkeypatch.setattr(module, "PAIRS", 3)
    asked = Asked(STRANGE)
    verdicts = Verdicts(asked)
    for port in range(10):
        verdicts.misfit(OURS, instance(b"", port + 1), "ask")
    assert len(verdicts._tasks) == 2
    await verdicts.close()
    for port in range(10):
        await verdicts.of(OURS, instance(b"", port + 1))
    assert len(verdicts._told) == 3
