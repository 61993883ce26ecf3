"""What a client needs of TLS, without the import of it: that is for those who dial so."""

import typing
from functools import cache
from typing import Any

from splnode.endpoint import Endpoint


class Securing(typing.Protocol):
    """A `net.tls.Tls`, as who dials sees it."""

    def dialled(self, endpoint: Endpoint) -> Endpoint:
        """What is to be spoken there: the same over TLS, unless it may be plain."""
        ...

    def client(self) -> Any:
        """The ssl.SSLContext."""
        ...

    def check(self, ssl_object: Any, endpoint: Endpoint) -> str:
        """After the handshake: what is wrong with who is there; "" if nothing is."""
        ...


def secure(tls: Securing | None) -> Securing:
    """That one, or where there is none one that believes the authorities of the system."""
    return tls if tls is not None else _system()


@cache
def _system() -> Securing:
    from splnode.net.tls import Tls  # noqa: PLC0415 - see above

    return Tls()
