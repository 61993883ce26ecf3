"""A node's announcement as a process of its own, for tests with several hosts: `python announcing.py ID IFACE ...`.

It says on stdout what it hears: a JSON list of [node, state, [endpoint ...], [service ...]] for each new set.
"""

import asyncio
import json
import signal
import sys
import time

from splnode.discovery.mdns import Mdns
from splnode.discovery.resolver import Address, Instance, Service
from splnode.endpoint import Endpoint
from splnode.observe import logging


async def main(node: str, *interfaces: str) -> None:
    logging.configure()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    mdns = Mdns(interfaces or ("default",))
    await mdns.start()
    listening = asyncio.ensure_future(tell(mdns))
    addresses = tuple(Address(Endpoint("tcp", host, 9090), "") for host in ("0.0.0.0", "::"))
    services = (Service("test.Echo", "1"), Service("test.Other"))
    await mdns.announce(Instance(addresses, node, time.time_ns() // 1_000_000, services))
    await stopped.wait()
    await mdns.close()
    await asyncio.wait([listening])


async def tell(mdns: Mdns) -> None:
    async for found in mdns.watch():
        said = [
            [each.node, each.state, [str(e) for e in each.endpoints], [s.name for s in each.services or ()]]
            for each in sorted(found, key=lambda each: each.node)
        ]
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
