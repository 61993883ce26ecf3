"""Announcers on hosts of their own, several in a process: `python crowd.py TAG FIRST COUNT TOTAL STAGGER`.

Number 1 is on host 1 of the Network that TAG names. They start at random moments of STAGGER seconds. Each also lets
itself be connected to, as a node would. After each step it says when that was, on the clock that all processes share:

1. all are announced; 2. each knows all others. After a line on stdin those with an odd number say goodbye, and
3. the others know it. After another line number 2 is gone without a word.
"""

import asyncio
import json
import random
import socket
import sys
import time

import uvloop

from splnode.discovery.interfaces import Interface
from splnode.discovery.mdns import Mdns
from splnode.discovery.resolver import Address, Instance, Service
from splnode.endpoint import Endpoint
from splnode.observe import logging
from tests.hosts.network import Network

PRINT = b"f" * 16
PORT = 9090


class Announcer:
    """One of them."""

    def __init__(self, network: Network, number: int) -> None:
        self.number = number
        self.address = f"10.99.0.{number}"
        eth0 = Interface("eth0", 2, (self.address,), True, "")
        self.mdns = Mdns(look=lambda _: (eth0,))
        self._network = network

    async def start(self) -> None:
        with self._network.inside(self.number):
            listening = socket.create_server((self.address, PORT))
            await self.mdns.start()
        assert not self.mdns.problem, self.mdns.problem
        self.server = await asyncio.start_server(lambda _, writer: writer.close(), sock=listening)

    async def announce(self) -> None:
        addresses = (Address(Endpoint("tcp", "0.0.0.0", PORT), ""),)
        services = (Service("test.Crowd", "", PRINT, PRINT, PRINT),)
        await self.mdns.announce(Instance(addresses, f"crowd-{self.number}", 1, services))

    async def knows(self, others: int) -> None:
        async for found in self.mdns.watch("test.Crowd"):
            if len(found) == others:
                return

    async def dies(self) -> None:
        """As if killed: its sockets are gone, and nothing is said."""
        self.server.close()
        self.mdns._announcing.forget()
        if self.mdns._zeroconf is not None:
            self.mdns._zeroconf.zeroconf.registry.async_remove(
                self.mdns._zeroconf.zeroconf.registry.async_get_service_infos()
            )


async def main(tag: str, first: int, count: int, total: int, stagger: float) -> None:
    logging.configure("error")
    network = Network(total)
    network.tag = tag
    crowd = [Announcer(network, number) for number in range(first, first + count)]
    moments = sorted(time.monotonic() + random.uniform(0, stagger) for _ in crowd)
    saying = []
    for each, moment in zip(crowd, moments, strict=True):
        await asyncio.sleep(max(0.0, moment - time.monotonic()))  # clock: they start at real moments
        await each.start()
        saying.append(asyncio.ensure_future(each.announce()))
    await asyncio.gather(*saying)
    tell()
    await asyncio.gather(*(each.knows(total - 1) for each in crowd))
    tell()
    await told()
    going, staying = ([each for each in crowd if each.number % 2 == odd] for odd in (1, 0))
    await asyncio.gather(*(each.mdns.withdraw() for each in going))
    await asyncio.gather(*(each.knows(total // 2 - 1) for each in staying))
    tell()
    await told()
    for each in crowd:
        if each.number == 2:
            await each.dies()
    await told()


async def told() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def tell() -> None:
    print(json.dumps({"at": time.monotonic(), "cpu": time.process_time()}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5])))
