"""Calls passed on: a peer gives the bytes of a call, and this node makes it, wherever it is to go.

So whoever reaches one node, if only by its Unix socket, reaches every service of all: with this node's connections,
which stand already, its knowledge of who fails, and its budget for trying again. The bytes are those of the caller's
own protocol; it is resolved with that of the node that answers, once, as if the caller had called there.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from splnode.avro.protocol import Protocol
from splnode.errors import CallError, DataError, DeclaredError, SchemaError
from splnode.limits import DEFAULT_LIMITS, Limits
from splnode.rpc.call import LONGEST, Call, deadline_for, inherited_metadata
from splnode.rpc.channel import Channel
from splnode.rpc.route import NODE_KEY, Route
from splnode.wire.cache import BoundedCache
from splnode.wire.message import PAIR_TEXTS, Contract, ServerCall

KEPT: Final = 64
"""Protocols of callers that are kept."""
LONG_TEXT: Final = 16_384
"""Characters of a protocol from which on it is read in a thread: that takes some ms."""


class Relay:
    """Passes calls on to `channel`, which somebody else closes."""

    def __init__(self, channel: Channel, limits: Limits = DEFAULT_LIMITS) -> None:
        self._channel = channel
        self._limits = limits
        self._contracts: BoundedCache[str, Contract] = BoundedCache(KEPT, PAIR_TEXTS * limits.protocol_bytes)

    async def call(
        self, protocol: str, message: str, params: bytes, metadata: Mapping[str, bytes], wishes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A RemoteAnswer. ValueError if the protocol or the parameters are none; cancelling is safe."""
        contract = await self._contract(protocol)
        codec = contract.serving(contract.protocol).prepare(message.encode())
        if isinstance(codec, CallError):
            return {"node": "", "failure": _failure(codec)}
        route = Route(**wishes, tell=True)
        until = deadline_for(LONGEST)
        call = Call(contract, codec.message, _read(codec, params), until, inherited_metadata(metadata), route=route)
        said: dict[str, Any] = {}
        try:
            value = await self._channel.call(call)
            if not codec.message.one_way:
                said["result"] = codec.encode(value)
        except DeclaredError as error:
            said["error"] = contract.error_writer(codec.message).encode(error)
        except CallError as error:
            said["failure"] = _failure(error)
        told = dict(call.answer_metadata)
        return {"node": told.pop(NODE_KEY, b"").decode(), "metadata": told, **said}

    async def _contract(self, text: str) -> Contract:
        contract = self._contracts.get(text)
        if contract is None:
            try:
                if len(text) < LONG_TEXT:
                    protocol = Protocol.parse(text, limits=self._limits, referee=False)
                else:
                    protocol = await asyncio.to_thread(Protocol.parse, text, limits=self._limits, referee=False)
            except (SchemaError, DataError) as error:
                raise ValueError(f"protocol: {error}") from None
            contract = Contract(protocol, limits=self._limits)
            self._contracts.put(text, contract, len(text))
        return contract


def _read(codec: ServerCall, params: bytes) -> Any:
    try:
        value, end = (codec.decode_all() or codec.decode)(params, 0)
    except DataError as error:
        raise ValueError(f"params: {error}") from None
    if end != len(params):
        raise ValueError(f"params: {len(params) - end} bytes too many")
    return value


def _failure(error: CallError) -> dict[str, Any]:
    return {
        "code": error.code.name,
        "message": error.message,
        "attempts": list(error.attempts),
        "started": error.started,
        "retryAfterMs": None if error.retry_after is None else round(error.retry_after * 1000),
    }
