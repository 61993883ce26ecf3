"""splnode: typed RPC between nodes, over Apache Avro IPC.

    async with splnode.connect("tcp://127.0.0.1:9090", "SPLDataService.avpr") as client: ...
    async with splnode.listen(["tcp://127.0.0.1:0"], {protocol: Inventory()}) as server: ...
    async with splnode.Node(config) as node: ...

    with splnode.sync.connect("tcp://127.0.0.1:9090", "SPLDataService") as data: ...     # no loop, for scripts

Every name here is loaded when it is first used, so that a small program does not pay for the large parts.
"""

import importlib
from typing import Any, Final

__version__ = "0.1.0"

_HOMES: Final = {
    "Address": "splnode.discovery.resolver",
    "Announcer": "splnode.discovery.resolver",
    "Branch": "splnode.avro.codec",
    "CallError": "splnode.errors",
    "Client": "splnode.rpc.client",
    "Code": "splnode.errors",
    "Config": "splnode.config",
    "ConfigError": "splnode.errors",
    "DeclaredError": "splnode.errors",
    "Endpoint": "splnode.endpoint",
    "Guard": "splnode.access.guard",
    "Instance": "splnode.discovery.resolver",
    "Node": "splnode.node",
    "Protocol": "splnode.avro.protocol",
    "Resolver": "splnode.discovery.resolver",
    "Service": "splnode.discovery.resolver",
    "SplnodeError": "splnode.errors",
    "Tls": "splnode.net.tls",
    "as_node": "splnode.rpc.call",
    "blocking": "splnode.rpc.server",
    "connect": "splnode.net.channel",
    "current_call": "splnode.rpc.call",
    "deadline": "splnode.rpc.call",
    "discover": "splnode.net.discover",
    "listen": "splnode.net.listener",
    "read_policy": "splnode.access.keeper",
}

_MODULES: Final = ("sync",)

__all__ = ["__version__", *_HOMES, *_MODULES]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'splnode' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
