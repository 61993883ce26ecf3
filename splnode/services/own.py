"""Services that are not splnode's: a protocol and the Python class that implements it, named by a configuration.

    shop.avpr=shop.py:Shop        a file and a class in it
    com.acme.Shop=acme.shop:Shop  a protocol that is found by name, and a module that can be imported

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
    where, _, name = target.rpartition(":")
    if not (named and where and name):
        raise ConfigError(f"service {spec!r}: write PROTOCOL=MODULE:CLASS, for example shop.avpr=shop.py:Shop")
    try:
        protocol = find_protocol(named)
    except (OSError, SchemaError) as error:
        raise ConfigError(f"service {spec!r}: its protocol cannot be used: {error}") from None
    module = _module(spec, where)
    made = getattr(module, name, None)
    if not callable(made):
        has = ", ".join(key for key, value in vars(module).items() if isinstance(value, type)) or "none"
        raise ConfigError(f"service {spec!r}: {where} has no class {name!r}; its classes: {has}")
    try:
        return protocol, made()
    except Exception as error:
        raise ConfigError(f"service {spec!r}: {name}() failed: {type(error).__name__}: {error}") from error


def _module(spec: str, where: str) -> ModuleType:
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
        raise ConfigError(f"service {spec!r}: {where} cannot be loaded: {type(error).__name__}: {error}") from error
    return module
