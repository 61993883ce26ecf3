"""Finding others by multicast DNS: asking who is there, and asking each for what its announcement did not bring.

Everybody is asked at the start, and then more and more seldom. A question names all that are known, so that only the
others answer (RFC 6762, section 7.1); among many that is many packets, and each of them takes its time. Where nobody
else on this host listens the answers come to us alone (section 5.4): two hundred nodes that all miss somebody would
else bury one another in answers.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final, Literal

from zeroconf import (  # type: ignore[attr-defined]  # those that begin with DNS are in no __all__
    DNSOutgoing,
    DNSPointer,
    DNSQuestion,
    DNSQuestionType,
    RecordUpdate,
    RecordUpdateListener,
    Zeroconf,
    current_time_millis,
)
from zeroconf.asyncio import AsyncServiceInfo

from splnode.discovery.heard import MOST, Heard, Record, usable
from splnode.discovery.mdns_announcing import IN, PTR, QUERY, TYPE, UNICAST
from splnode.discovery.txt import BadTxtError, decode

FIRST: Final = (0.02, 0.12)
"""Seconds before the first question, at random: others have started just now, too. (RFC 6762, section 5.2)"""
PAUSES: Final = (1.0, 4.0, 16.0, 60.0)
"""Seconds after each question, for each of its packets, before the next; the last one goes on."""
NAMES: Final = 25
"""Known names that a packet holds, or so."""
AT_ONCE: Final = 64
"""Instances that are asked for what their announcement did not bring, at one time."""
ASK_MS: Final = 3000
ASK_PAUSES: Final = (0.0, 2.0, 10.0, 30.0, 60.0)
"""Milliseconds in which one of them is to answer, and seconds before each time that it is asked."""

A, AAAA, SRV, TXT = 1, 28, 33, 16
"""Types of records. (RFC 1035, section 3.2.2; RFC 2782; RFC 3596)"""

_What = Literal["new", "changed", "gone"]


class Listening(RecordUpdateListener):
    """Notes in `heard` what is heard on one Zeroconf, and calls `changed` after that, until it is stopped.

    `unicast` asks for answers to us alone. `taken` is called with the name of each record that is believed.
    """

    def __init__(
        self,
        zeroconf: Zeroconf,
        heard: Heard,
        changed: Callable[[], None],
        taken: Callable[[str, Record], None] = lambda _name, _record: None,
        *,
        unicast: bool = True,
    ) -> None:
        self._zeroconf = zeroconf
        self._heard = heard
        self._changed = changed
        self._taken = taken
        self._class = IN | UNICAST if unicast else IN
        self._pending: dict[str, _What] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to listen and to ask. What came before is looked at, too: the sockets are open already."""
        self._zeroconf.async_add_listener(self, DNSQuestion(TYPE, PTR, IN))
        self._task = asyncio.ensure_future(self._ask_everybody())

    def stop(self) -> None:
        """Nothing is noted any more."""
        self._zeroconf.async_remove_listener(self)
        for task in (self._task, *self._asking.values()):
            if task is not None:
                task.cancel()

    def ask(self) -> int:
        """Asks who is there besides those that are known; gives the packets that takes, or so."""
        now, question, known = current_time_millis(), DNSOutgoing(QUERY), 0
        question.add_question(DNSQuestion(TYPE, PTR, self._class))
        for record in self._zeroconf.cache.get_all_by_details(TYPE, PTR, IN):
            if not record.is_stale(now):
                question.add_answer_at_time(record, now)
                known += 1
        self._zeroconf.async_send(question)
        return 1 + known // NAMES

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        """Called by zeroconf for each packet before it keeps the records, and for those whose time is over."""
        for update in records:
            record, kind = update.new, update.new.type
            if kind == PTR and isinstance(record, DNSPointer):
                if record.key == TYPE and (update.old is None or record.is_expired(now)):
                    self._pending[record.alias] = "new" if update.old is None else "gone"
                continue
            if not record.is_expired(now):
                if update.old is not None:
                    continue
                what: _What = "new"
            elif record.ttl <= 1:  # another was put in its place; one that is only old says nothing
                what = "changed"
            else:
                continue
            if kind in (SRV, TXT) and record.key.endswith(f".{TYPE}"):
                self._pending.setdefault(record.name, what)
            elif kind in (A, AAAA):
                for entry in zc.cache.async_entries_with_server(record.name):
                    if entry.key.endswith(f".{TYPE}"):
                        self._pending.setdefault(entry.name, what)

    def async_update_records_complete(self) -> None:
        """Called by zeroconf when it has kept them."""
        pending, self._pending = self._pending, {}
        for name, what in pending.items():
            if what == "gone":
                self._drop(name)
            else:
                self._look(name, ask=what == "new")

    def _drop(self, name: str) -> None:
        asking = self._asking.get(name)
        if asking is not None:
            asking.cancel()
        self._heard.drop(name)
        self._changed()

    def _look(self, name: str, *, ask: bool) -> None:
        """Takes what is known of a name, if that is all; else asks for the rest."""
        asking, info = self._asking.get(name), AsyncServiceInfo(TYPE, name)
        if info.load_from_cache(self._zeroconf):
            if asking is not None:
                asking.cancel()
            self._take(name, info)
        elif ask and asking is None and len(self._asking) < MOST:
            task = asyncio.ensure_future(self._ask(name))
            self._asking[name] = task
            task.add_done_callback(lambda done: self._asked(name, done))

    async def _ask_everybody(self) -> None:
        pause = random.uniform(*FIRST)
        number = 0
        while True:
            await asyncio.sleep(pause)
            pause = PAUSES[min(number, len(PAUSES) - 1)] * self.ask() * random.uniform(0.8, 1.2)
            number += 1

    async def _ask(self, name: str) -> None:
        """Asks for what an announcement did not bring, until it is there or there is no hope."""
        for pause in ASK_PAUSES:
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            async with self._places:
                info = AsyncServiceInfo(TYPE, name)
                if await info.async_request(self._zeroconf, ASK_MS, DNSQuestionType.QM):
                    self._take(name, info)
                    return
            self._heard.reject(name, "it was announced, but nobody says where it is")

    def _asked(self, name: str, task: asyncio.Task[None]) -> None:
        if self._asking.get(name) is task:
            del self._asking[name]

    def _take(self, name: str, info: AsyncServiceInfo) -> None:
        try:
            txt = decode(info.text or b"")
            addresses = usable(info.parsed_scoped_addresses())
            if not addresses or not info.port:
                raise BadTxtError("it has no address that can be dialled" if info.port else "its port is 0")
        except BadTxtError as error:
            self._heard.reject(name, str(error))
        else:
            record = Record(info.server or "", info.port, tuple(sorted(addresses)), txt)
            self._heard.add(name, record)
            self._taken(name, record)
        self._changed()
