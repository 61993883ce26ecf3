"""Whether a message can be called on an instance, known before anybody dials it.

An instance says which resolution fingerprint its version of a protocol has. Where that is our own there is nothing to
ask; otherwise its text is needed, once for each fingerprint and whoever has it. A text that does not have the
fingerprint it was announced with tells a liar, or a record that is old.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

from splnode.avro.compatibility import SAME, Verdict, verdicts
from splnode.avro.fingerprint import resolution_fingerprint
from splnode.avro.protocol import Protocol
from splnode.discovery.resolver import Instance
from splnode.errors import CallError, SchemaError

TEXTS: Final = 256
PAIRS: Final = 1024
"""Protocols of others, and pairs of one of ours and one of theirs, that are kept; the oldest go first."""
ASKING: Final = 16
"""Questions at one time."""
AGAIN: Final = 10.0
"""Seconds before an instance that did not answer is asked again."""

K = TypeVar("K")
V = TypeVar("V")
Fetch = Callable[[Instance, str], Awaitable[Protocol]]
"""Asks an instance for the protocol it serves under a name. CallError or SchemaError, within a few seconds."""


class Verdicts:
    """Verdicts by pair of fingerprints. `changed` is called when there is a new one. Close it: questions end.

    It never blocks and never refuses what it does not know: the handshake will tell.
    """

    def __init__(self, fetch: Fetch, changed: Callable[[], None] = lambda: None) -> None:
        self._fetch = fetch
        self.changed = changed
        self._texts: dict[bytes, Protocol] = {}
        self._pairs: dict[tuple[bytes, bytes], Mapping[str, Verdict]] = {}
        self._printed: WeakKeyDictionary[Protocol, bytes] = WeakKeyDictionary()
        self._told: dict[tuple[object, ...], bytes] = {}  # what an instance really serves, where it was asked
        self._tasks: dict[tuple[object, ...], asyncio.Task[None]] = {}
        self._pause: dict[tuple[object, ...], tuple[float, str]] = {}

    def known(self, caller: Protocol, instance: Instance) -> Mapping[str, Verdict] | None:
        """The verdict on each message of the caller's protocol, if it can be told without asking; else None."""
        theirs = self._fingerprint(instance, caller.name)
        if theirs is None:
            return None
        ours = self.fingerprint(caller)
        if theirs == ours:
            return dict.fromkeys(caller.messages, SAME)
        found = self._pairs.get((ours, theirs))
        if found is None and theirs in self._texts:
            found = self._pairs[ours, theirs] = verdicts(caller, self._texts[theirs])
            _shorten(self._pairs, PAIRS)
        return found

    def misfit(self, caller: Protocol, instance: Instance, message: str) -> str:
        """Why the message cannot be called there; empty if it can, or if nobody knows: then the instance is asked."""
        found = self.known(caller, instance)
        if found is None:
            self.ask(caller.name, instance)
            return ""
        verdict = found.get(message)
        return "" if verdict is None or verdict.fits else str(verdict)

    def lie(self, instance: Instance, service: str) -> str:
        """How what an instance announces differs from what it serves; empty if it does not, or was not asked."""
        said, told = instance.service(service), self._told.get(_key(instance, service))
        if said is None or not said.resolution or told is None or told == said.resolution:
            return ""
        return f"it announces {service} with the fingerprint {said.resolution.hex()}, and serves {told.hex()}"

    def trouble(self, instance: Instance, service: str) -> str:
        """Why an instance could not be asked; empty if it could, or was not."""
        return self._pause.get(_key(instance, service), (0.0, ""))[1]

    def ask(self, service: str, instance: Instance) -> "asyncio.Task[None] | None":
        """Asks an instance for its text, unless it is being asked, has just failed, or too many are asked."""
        key = _key(instance, service)
        task = self._tasks.get(key)
        if task is not None:
            return task
        if len(self._tasks) >= ASKING or time.monotonic() < self._pause.get(key, (0.0, ""))[0]:
            return None
        task = self._tasks[key] = asyncio.ensure_future(self._ask(key, service, instance))
        task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return task

    async def of(self, caller: Protocol, instance: Instance) -> Mapping[str, Verdict] | None:
        """The verdicts, asked for if need be; None if the instance did not tell."""
        if self.known(caller, instance) is None and (task := self.ask(caller.name, instance)) is not None:
            await asyncio.wait([task])
        return self.known(caller, instance)

    async def text(self, service: str, instance: Instance) -> Protocol | None:
        """The protocol that an instance serves under a name; None if it did not tell."""
        theirs = self._fingerprint(instance, service)
        if (theirs is None or theirs not in self._texts) and (task := self.ask(service, instance)) is not None:
            await asyncio.wait([task])
        theirs = self._fingerprint(instance, service)
        return self._texts.get(theirs) if theirs is not None else None

    def fingerprint(self, protocol: Protocol) -> bytes:
        """The resolution fingerprint of a protocol of ours, computed once."""
        found = self._printed.get(protocol)
        if found is None:
            found = self._printed[protocol] = resolution_fingerprint(protocol)
        return found

    async def close(self) -> None:
        """Ends what is being asked."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fingerprint(self, instance: Instance, service: str) -> bytes | None:
        told = self._told.get(_key(instance, service))
        if told is not None:
            return told
        said = instance.service(service)
        return said.resolution or None if said is not None else None

    async def _ask(self, key: tuple[object, ...], service: str, instance: Instance) -> None:
        try:
            protocol = await self._fetch(instance, service)
        except (CallError, SchemaError, OSError) as error:
            self._pause.pop(key, None)
            self._pause[key] = (time.monotonic() + AGAIN, str(error)[:500])
            _shorten(self._pause, PAIRS)
            return
        self._pause.pop(key, None)
        printed = await asyncio.to_thread(resolution_fingerprint, protocol)  # a peer's text may be large
        self._texts[printed] = protocol
        self._told[key] = printed
        _shorten(self._texts, TEXTS)
        _shorten(self._told, PAIRS)
        self.changed()


def _key(instance: Instance, service: str) -> tuple[object, ...]:
    """One life of a node at one place. Who announces another fingerprint than before is asked anew."""
    said = instance.service(service)
    return instance.node, instance.epoch, instance.addresses[0].endpoint, service, said and said.resolution


def _shorten(kept: dict[K, V], most: int) -> None:
    while len(kept) > most:
        kept.pop(next(iter(kept)))
