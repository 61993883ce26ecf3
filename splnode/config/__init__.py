"""The settings of a node: one TOML file, every key with a default that works.

`config/splnode.toml` shows each key with its default and a sentence. `load` reads a file, `parse` a text;
both raise ConfigError with the file, the key and the fix.
"""

from splnode.config.node_id import node_id
from splnode.config.paths import SOCKET_NAME, default_directory, default_listen, default_socket, runtime_directory
from splnode.config.reading import (
    anchored_class,
    anchored_service,
    checked_id,
    differences,
    from_builtins,
    load,
    parse,
    to_builtins,
)
from splnode.config.sections import (
    LIMITS,
    MOST_WORKERS,
    AccessConfig,
    AdmissionConfig,
    BalanceConfig,
    CallsConfig,
    ChannelsConfig,
    Config,
    DataConfig,
    DiscoveryConfig,
    EjectionConfig,
    LogConfig,
    ModulesConfig,
    NodeConfig,
    RetryConfig,
    TlsConfig,
    sections,
)

__all__ = [
    "LIMITS",
    "MOST_WORKERS",
    "SOCKET_NAME",
    "AccessConfig",
    "AdmissionConfig",
    "BalanceConfig",
    "CallsConfig",
    "ChannelsConfig",
    "Config",
    "DataConfig",
    "DiscoveryConfig",
    "EjectionConfig",
    "LogConfig",
    "ModulesConfig",
    "NodeConfig",
    "RetryConfig",
    "TlsConfig",
    "anchored_class",
    "anchored_service",
    "checked_id",
    "default_directory",
    "default_listen",
    "default_socket",
    "differences",
    "from_builtins",
    "load",
    "node_id",
    "parse",
    "runtime_directory",
    "sections",
    "to_builtins",
]
