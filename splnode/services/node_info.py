"""An Instance as SPLNodeService says it, and back."""

from collections.abc import Mapping
from typing import Any, Final

from splnode.discovery.resolver import Address, Instance, Service
from splnode.discovery.roster import Standing
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError

STATES: Final[Mapping[Standing, str]] = {"up": "UP", "drain": "DRAINING", "suspect": "SUSPECT", "gone": "GONE"}
MOST: Final = 256
"""Services, and endpoints, that a node may say it has."""


def to_info(instance: Instance, **others: Any) -> dict[str, Any]:
    """A NodeInfo; `others` are more of its fields."""
    services = instance.services
    return {
        "nodeId": instance.node,
        "endpoint": str(instance.addresses[0].endpoint) if instance.addresses else "",
        "availableModules": [],
        "capabilities": [service.name for service in services or ()],
        "lastHeartbeat": 0,
        "epoch": instance.epoch,
        "endpoints": [{"endpoint": str(each.endpoint), "source": each.source} for each in instance.addresses],
        "services": None if services is None else [_to_protocol(service) for service in services],
        "state": STATES[instance.state],
        "weight": instance.weight,
        "load": None,
        "problem": instance.problem,
        "self": False,
        "time": 0,
        "revision": 0,
        **others,
    }


def from_info(info: Mapping[str, Any], source: str) -> Instance:
    """The Instance that a NodeInfo describes. ConfigError if nobody can be dialled, or a number makes no sense."""
    texts = [info["endpoint"], *(each["endpoint"] for each in info["endpoints"][:MOST])]
    endpoints = dict.fromkeys(Endpoint.parse(text) for text in texts if text)
    if not endpoints:
        raise ConfigError(f"node {info['nodeId']!r}: it has no endpoint")
    weight = float(info["weight"])
    if not 0 <= weight <= 1000:
        raise ConfigError(f"node {info['nodeId']!r}: weight {weight:g} is not between 0 and 1000")
    services = info["services"]
    if services is None and info["capabilities"]:
        services = [{"name": name} for name in info["capabilities"]]
    return Instance(
        tuple(Address(endpoint, source) for endpoint in endpoints),
        info["nodeId"][:MOST],
        info["epoch"],
        None if services is None else tuple(_from_protocol(each) for each in services[:MOST]),
        "drain" if info["state"] == "DRAINING" else "up",
        weight,
    )


def _to_protocol(service: Service) -> dict[str, str]:
    printed = {"wire": service.wire.hex(), "resolution": service.resolution.hex(), "md5": service.md5.hex()}
    return {"name": service.name, "version": service.version, **printed}


def _from_protocol(said: Mapping[str, Any]) -> Service:
    try:
        printed = [bytes.fromhex(said.get(key, "")) for key in ("wire", "resolution", "md5")]
    except ValueError:
        printed = [b""] * 3
    return Service(said["name"][:MOST], said.get("version", "")[:MOST], *(each[:16] for each in printed))
