"""What is not splnode's, and named by a configuration: services, and ways to find other nodes.

    shop.avpr=shop.py:Shop        a protocol, and the class that implements it, in a file
    com.acme.Shop=acme.shop:Shop  a protocol that is found by name, and a module that can be imported
    consul.py:Consul              a Resolver, an Announcer, or both

The class is made without arguments, in the process that serves, and its code runs with the node's own rights: naming it
is installing it.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from splnode.avro.protocol import Protocol, find_protocol
from splnode.errors import ConfigError, SchemaError


def load(spec: str) -> tuple[Protocol, object]:
    """The protocol and a new implementation. ConfigError says what is wrong."""
    named, _, target = spec.partition("=")
    if not (named and all(target.rpartition(":"))):
        raise ConfigError(f"service {spec!r}: write PROTOCOL=MODULE:CLASS, for example shop.avpr=shop.py:Shop")
    try:
        protocol = find_protocol(named)
    except (OSError, SchemaError) as error:
        raise ConfigError(f"service {spec!r}: its protocol cannot be used: {error}") from None
    return protocol, _make(f"service {spec!r}", target)


def load_resolver(spec: str) -> object:
    """A new resolver of nodes, or announcer, or both: `consul.py:Consul`. ConfigError says what is wrong."""
    what = f"resolver {spec!r}"
    if not all(spec.rpartition(":")):
        raise ConfigError(f"{what}: write MODULE:CLASS, for example consul.py:Consul")
    made = _make(what, spec)
    if not (hasattr(made, "watch") and hasattr(made, "name")) and not hasattr(made, "announce"):
        raise ConfigError(f"{what}: it has neither name and watch, as a Resolver, nor announce, as an Announcer")
    return made


def _make(what: str, target: str) -> object:
    where, _, name = target.rpartition(":")
    module = _module(what, where)
    made = getattr(module, name, None)
    if not callable(made):
        has = ", ".join(key for key, value in vars(module).items() if isinstance(value, type)) or "none"
        raise ConfigError(f"{what}: {where} has no class {name!r}; its classes: {has}")
    try:
        return made()
    except Exception as error:
        raise ConfigError(f"{what}: {name}() failed: {type(error).__name__}: {error}") from error


def _module(what: str, where: str) -> ModuleType:
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        path = Path(where)
        found = importlib.util.spec_from_file_location(path.stem, path)
        if found is None or found.loader is None:
            raise ImportError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(found)
        sys.modules.setdefault(path.stem, module)  # what its classes say of themselves can be looked up
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # it is somebody else's code, and anything may come out of it
        raise ConfigError(f"{what}: {where} cannot be loaded: {type(error).__name__}: {error}") from error
    return module
