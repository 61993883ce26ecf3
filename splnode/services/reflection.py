"""splnode.Reflection: what this node serves, told by the node itself."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from splnode.avro.fingerprint import resolution_fingerprint, wire_fingerprint
from splnode.avro.protocol import Protocol
from splnode.errors import DeclaredError


class NotFound(DeclaredError):
    """There is nothing of that name or fingerprint here."""

    schema_name = "splnode.NotFound"


class ReflectionService:
    """Implements splnode.Reflection.

    `protocols` gives those that are served now; it is asked each time. Each of `schemas` is asked for the
    text of a schema by fingerprint (16 hexadecimal digits) until one knows it.
    """

    def __init__(
        self,
        protocols: Callable[[], Iterable[Protocol]],
        schemas: Iterable[Callable[[str], Awaitable[str | None]]] = (),
    ) -> None:
        self._protocols = protocols
        self._schemas = tuple(schemas)

    def listProtocols(self) -> list[dict[str, Any]]:  # noqa: N802 - the protocol's word
        """All of them, by name."""
        return [_describe(protocol) for protocol in self._sorted()]

    def getProtocol(self, name: str) -> str:  # noqa: N802 - the protocol's word
        """The text of one, by full name, short name or fingerprint."""
        served = self._sorted()
        full = [each for each in served if each.name == name]
        short = [each for each in served if each.short_name == name]
        printed = [each for each in served if name.lower() in _fingerprints(each).values()]
        for found in (full, short, printed):
            if len(found) == 1:
                return found[0].text
        has = ", ".join(protocol.name for protocol in served) or "none"
        why = f"{name!r} is the short name of more than one protocol" if short else f"no protocol is {name!r}"
        raise NotFound(message=f"{why}; served here: {has}")

    async def getSchema(self, fingerprint: str) -> str:  # noqa: N802 - the protocol's word
        """The text of a schema that a Record may have."""
        for ask in self._schemas:
            text = await ask(fingerprint.lower())
            if text is not None:
                return text
        raise NotFound(message=f"no schema with the fingerprint {fingerprint!r} is known here")

    def _sorted(self) -> list[Protocol]:
        return sorted(self._protocols(), key=lambda protocol: protocol.name)


def _describe(protocol: Protocol) -> dict[str, Any]:
    messages = list(protocol.messages)
    return {"name": protocol.name, "doc": protocol.doc, "messages": messages, **_fingerprints(protocol)}


def _fingerprints(protocol: Protocol) -> dict[str, str]:
    return {
        "md5": protocol.md5.hex(),
        "wire": wire_fingerprint(protocol).hex(),
        "resolution": resolution_fingerprint(protocol).hex(),
    }
