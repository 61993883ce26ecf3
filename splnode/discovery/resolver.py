"""Names to endpoints, and back: what every way of finding nodes gives, and what every way of being found takes.

A new source (a registry, an orchestrator) is one file with a class that has `name` and `watch`, and `announce` and
`withdraw` where nodes register themselves there:

    class Consul:
        name = "consul"

        async def watch(self, service: str = "") -> AsyncIterator[frozenset[Instance]]:
            while True:
                yield frozenset(await self._ask(service))
                await self._changed()

        async def announce(self, instance: Instance) -> None:
            await self._put(instance)

        async def withdraw(self) -> None:
            await self._delete()

`resolvers = ["consul.py:Consul"]` in the config's `[discovery]` plugs it in, and so does `Node(resolvers=[Consul()])`.
All of these names are splnode's own too: `splnode.Instance`.

Everything here is pure data: an Instance can be compared, hashed and kept, and says nothing of connections.
"""

import asyncio
import contextlib
import time
import typing
from collections.abc import AsyncIterator, Iterable
from typing import Final, Literal

import msgspec

from splnode.endpoint import Endpoint

State = Literal["up", "drain"]
ALL: Final = ""
"""What `watch` takes instead of a service's name: whatever there is."""


class Service(msgspec.Struct, frozen=True):
    """A protocol that an instance serves, as far as it is known without asking it.

    `name` is the full name, `version` what the protocol's text says of itself ("" where nothing). `wire` and
    `resolution` are the fingerprints of splnode.avro.fingerprint (16 bytes), `md5` that of the text; each is empty
    where it is not known.
    """

    name: str
    version: str = ""
    wire: bytes = b""
    resolution: bytes = b""
    md5: bytes = b""


class Address(msgspec.Struct, frozen=True):
    """One way to reach an instance, and which resolver said so."""

    endpoint: Endpoint
    source: str


class Instance(msgspec.Struct, frozen=True, cache_hash=True):
    """One life of one node, as somebody described it. A hint: only the handshake proves any of it.

    - `node` is its id, "" where only an address is known. `epoch` is new at each start (milliseconds of the wall
      clock then), 0 where it is not known. Two instances of one node with different epochs are two lives of it, or
      two nodes that claim one id.
    - `addresses` in the order in which to try them; never empty.
    - `services` is None where nobody has said which there are.
    - `weight` is static: 1.0 is a usual node, 2.0 is to have twice as many calls, 0.0 none while there are others.
    - `problem` is empty, or the reason for which no call should go there; whoever lists instances shows it.
    """

    addresses: tuple[Address, ...]
    node: str = ""
    epoch: int = 0
    services: tuple[Service, ...] | None = None
    state: State = "up"
    weight: float = 1.0
    problem: str = ""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints alone, each once."""
        return tuple(dict.fromkeys(address.endpoint for address in self.addresses))

    @property
    def sources(self) -> tuple[str, ...]:
        """The resolvers that know of it, each once."""
        return tuple(dict.fromkeys(address.source for address in self.addresses))

    def service(self, name: str) -> Service | None:
        """What it says of a service; None if it does not serve that, or nobody knows."""
        return next((each for each in self.services or () if each.name == name), None)

    def may_serve(self, name: str) -> bool:
        """Whether it serves `name`, or nobody knows what it serves. ALL is served by everyone."""
        return name == ALL or self.services is None or self.service(name) is not None


Instances = frozenset[Instance]
NONE: Final[Instances] = frozenset()


class Resolver(typing.Protocol):
    """Says where a service is.

    `name` is what its addresses have as their source.
    """

    name: str

    def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        """The whole set now, and the whole set again after each change: never a difference.

        The first set comes at once where one is known, and may be empty. Instances of which nobody knows what they
        serve belong to every service. It goes on for as long as it is iterated; whoever iterates closes it
        (cancelling is safe). It raises only what no waiting mends: ConfigError.
        """
        ...


class Announcer(typing.Protocol):
    """Tells others where this node is."""

    async def announce(self, instance: Instance) -> None:
        """Says that the instance is here, or, called again, how it is now. Returns when it was said once."""
        ...

    async def withdraw(self) -> None:
        """Says goodbye, at once; then nobody is told any more. May be repeated."""
        ...


class Board:
    """A set that is posted, and all who watch it. What most resolvers stand on."""

    def __init__(self) -> None:
        self._present: Instances = NONE
        self._closed = False
        self._changed = asyncio.Event()
        self._revision = time.time_ns() // 1000  # so that another start is another revision

    @property
    def present(self) -> Instances:
        """The set that was posted last."""
        return self._present

    @property
    def revision(self) -> int:
        """A number that belongs to the present set, and to none that was here before."""
        return self._revision

    @property
    def closed(self) -> bool:
        """Whether nothing changes any more."""
        return self._closed

    async def changed(self, revision: int, timeout: float) -> None:
        """Returns when `revision` is not the present one, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(timeout, 0.0)):
                while self._revision == revision and not self._closed:
                    await self._changed.wait()

    def post(self, instances: Iterable[Instance]) -> bool:
        """Replaces the set, and says whether it is another one; then the watchers hear of it."""
        new = frozenset(instances)
        if new == self._present:
            return False
        self._present = new
        self._revision += 1
        self._tell()
        return True

    def touch(self) -> None:
        """There is something new to say of the present set: whoever waits in `changed` hears of it."""
        self._revision += 1
        self._tell()

    def close(self) -> None:
        """Ends every watch."""
        self._closed = True
        self._tell()

    async def watch(self, service: str = ALL) -> AsyncIterator[Instances]:
        """The instances that may serve `service`: at once, and after each change that touches them."""
        last: Instances | None = None
        while not self._closed:
            changed = self._changed
            found = serving(self._present, service)
            if found != last:
                last = found
                yield found
            if changed is self._changed:  # nothing was posted while the watcher had the set
                await changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()  # the next change has an event of its own


def serving(instances: Instances, service: str) -> Instances:
    """Those that serve `service` or may do so."""
    if service == ALL:
        return instances
    return frozenset(each for each in instances if each.may_serve(service))
