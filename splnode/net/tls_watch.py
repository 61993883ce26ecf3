"""What a node does about its certificate: opens it, and says in time that it ends."""

import asyncio
import time
from typing import Final

import structlog

from splnode.config import TlsConfig
from splnode.net.tls import Tls, expiry

EVERY: Final = 86_400.0
"""Seconds between two lines about a certificate that ends soon."""

log = structlog.get_logger("splnode.net")


def open_tls(settings: TlsConfig, node: str) -> Tls | None:
    """The TLS of a node: None where it has neither certificate, authority nor mesh key. ConfigError.

    `node` is the id that it must be of; "" where a certificate may say which.
    """
    if not (settings.certificate or settings.key or settings.authority or settings.mesh_key or settings.certificates):
        return None
    return Tls(
        certificate=settings.certificate,
        key=settings.key,
        authority=settings.authority,
        certificates=settings.certificates,
        mesh_key=settings.mesh_key,
        mutual=settings.mutual,
        plain=settings.plain,
        node=node,
    )


async def watch_expiry(tls: Tls) -> None:
    """Warns, now and then each day, of a certificate that ends within thirty days. Goes on until it is cancelled."""
    while True:
        for file, text in expiry([tls], time.time()):
            log.warning(text, file=file)
        await asyncio.sleep(EVERY)
