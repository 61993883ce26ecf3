"""Announcers of one host, as a process: `python crowd.py FIRST COUNT TOTAL`.

It says on stdout, as JSON: when each of them knows all others, with the seconds that took and what it cost; and, after
a line on stdin, when those that stayed know that the other half has gone. Those with an odd number go.
"""

import asyncio
import json
import resource
import sys
import time

from splnode.discovery.mdns import Mdns
from splnode.discovery.resolver import Address, Instance, Service
from splnode.endpoint import Endpoint
from splnode.observe import logging

PRINT = b"f" * 16


async def main(first: int, count: int, total: int) -> None:
    logging.configure("error")
    numbers = range(first, first + count)
    crowd = {number: Mdns() for number in numbers}
    for each in crowd.values():
        await each.start()
    began = time.monotonic()
    await asyncio.gather(*(each.announce(instance(number)) for number, each in crowd.items()))
    await asyncio.gather(*(knows(each, total - 1) for each in crowd.values()))
    tell(seconds=time.monotonic() - began, count=count)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    tell(seconds=0.0, count=count)
    began = time.monotonic()
    await asyncio.gather(*(each.withdraw() for number, each in crowd.items() if number % 2))
    staying = [each for number, each in crowd.items() if not number % 2]
    await asyncio.gather(*(knows(each, (total + 1) // 2 - 1) for each in staying))
    tell(seconds=time.monotonic() - began, count=count)
    await loop.run_in_executor(None, sys.stdin.readline)
    for each in crowd.values():
        await each.close()


def instance(number: int) -> Instance:
    addresses = (Address(Endpoint("tcp", "0.0.0.0", 9000 + number), ""),)
    return Instance(addresses, f"crowd-{number}", 1, (Service("test.Crowd", "", PRINT, PRINT, PRINT),))


async def knows(mdns: Mdns, others: int) -> None:
    async for found in mdns.watch("test.Crowd"):
        if len(found) == others:
            return


def tell(seconds: float, count: int) -> None:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu": time.process_time() / count, "memory": memory / count}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:4])))
