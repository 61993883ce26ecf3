"""What the hosts of the tests and of docker-compose.yml serve besides splnode's own.

SHOP_SLOW=SECONDS makes every answer take that long.
"""

import asyncio
import os
import socket
import time


class Shop:
    """com.acme.Shop, version 1."""

    def __init__(self) -> None:
        self.name = os.environ.get("SHOP_NAME") or socket.gethostname()
        self.slow = float(os.environ.get("SHOP_SLOW", "0"))

    async def where(self) -> str:
        await asyncio.sleep(self.slow)  # clock: slowness is what it is for
        return self.name

    async def look(self) -> str:
        return await self.where()

    async def buy(self, sku: str) -> str:
        return await self.where()

    def price(self, sku: str) -> int:
        return len(sku)

    async def rest(self, seconds: float) -> str:
        await asyncio.sleep(seconds)  # clock: resting is what it is for
        return self.name

    def block(self, seconds: float) -> str:
        time.sleep(seconds)  # clock: blocking is what it is for
        return self.name


class Shop2(Shop):
    """com.acme.Shop, version 2."""

    async def buy(self, sku: str, count: int = 1) -> str:
        return await self.where()

    def price(self, sku: str) -> str:  # type: ignore[override]  # that is what is new
        return f"{len(sku)} EUR"
