"""The settings of a node: one TOML file, every key with a default that works.

`config/splnode.toml` shows each key with its default and a sentence. `load` reads a file, `parse` a text;
both raise ConfigError with the file, the key and the fix.
"""

import difflib
import os
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.limits import Limits

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Pause = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Number = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
SOCKET_NAME: Final = "splnode.sock"
MOST_WORKERS: Final = 256


def runtime_directory() -> Path:
    """Where this user's sockets belong: XDG_RUNTIME_DIR, /run/user/UID, or else under ~/.local/state."""
    for candidate in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}"):
        if candidate and Path(candidate).is_absolute() and os.access(candidate, os.W_OK | os.X_OK):
            return Path(candidate)
    return _base("XDG_STATE_HOME", ".local/state") / "splnode"


def default_listen() -> tuple[str, ...]:
    """Where a node listens when nobody says: loopback TCP, and the user's own Unix socket."""
    return "tcp://127.0.0.1:9090", str(default_socket())


def default_socket() -> Endpoint:
    """The Unix socket of the local node, which the shell tries first."""
    return Endpoint("unix", path=str(runtime_directory() / SOCKET_NAME))


def default_directory() -> str:
    """Where a node keeps its state when nobody says: XDG_DATA_HOME/splnode."""
    return str(_base("XDG_DATA_HOME", ".local/share") / "splnode")


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section of the file."""


class NodeConfig(_Section, frozen=True):
    """`[node]`: who this node is, where it listens, how it stops."""

    id: Name | None = None
    directory: str = msgspec.field(default_factory=default_directory)
    listen: tuple[str, ...] = msgspec.field(default_factory=default_listen)
    insecure: bool = False
    services: tuple[str, ...] = msgspec.field(default_factory=lambda: ())
    default_service: str | None = None
    workers: Annotated[int, msgspec.Meta(ge=0, le=MOST_WORKERS)] = 1
    drain_seconds: Pause = 3.0
    stop_seconds: Pause = 20.0

    def __post_init__(self) -> None:
        for text in self.listen:
            Endpoint.parse(text)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """`listen`, parsed."""
        return tuple(Endpoint.parse(text) for text in self.listen)


class CallsConfig(_Section, frozen=True):
    """`[calls]`: what holds for a call that says nothing itself."""

    timeout: Seconds = 30.0
    force_codec: bool = False


class AdmissionConfig(_Section, frozen=True):
    """`[admission]`: how many calls at a time."""

    running: Number = 256
    queued: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 128


class ChannelsConfig(_Section, frozen=True):
    """`[channels]`: connections to other nodes."""

    connect_timeout: Seconds = 5.0
    backoff_initial: Seconds = 0.5
    backoff_factor: Annotated[float, msgspec.Meta(ge=1, le=100)] = 1.6
    backoff_jitter: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.2
    backoff_max: Seconds = 30.0
    keepalive_active: Seconds = 30.0
    keepalive_idle: Seconds = 60.0
    keepalive_timeout: Seconds = 10.0

    def __post_init__(self) -> None:
        if self.backoff_max < self.backoff_initial:
            low = self.backoff_initial
            raise ValueError(f"backoff_max = {self.backoff_max} must not be below backoff_initial = {low}")


Policy = Literal["least_request", "round_robin", "weighted", "sticky"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class BalanceConfig(_Section, frozen=True):
    """`[balance]`: one service on many nodes."""

    policy: Policy = "least_request"
    policies: dict[str, Policy] = {}
    patience: Pause = 3.0
    ahead: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 32
    idle_seconds: Seconds = 300.0
    probe_interval: Seconds = 1.0
    probe_timeout: Seconds = 0.5
    probe_strikes: Number = 3
    weight_blackout: Pause = 10.0
    weight_expiry: Seconds = 180.0
    weight_update: Seconds = 1.0


class EjectionConfig(_Section, frozen=True):
    """`[ejection]`: when a node is left out for a while, and for how long."""

    failures: Number = 5
    success: Share = 0.8
    least: Number = 5
    window: Seconds = 30.0
    first: Seconds = 5.0
    longest: Seconds = 300.0
    jitter: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.2


class RetryConfig(_Section, frozen=True):
    """`[retry]`: calls that failed and may be tried again."""

    attempts: Number = 3
    first: Seconds = 0.05
    factor: Annotated[float, msgspec.Meta(ge=1, le=100)] = 2.0
    longest: Seconds = 1.0
    jitter: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.2
    tokens: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] = 10.0
    earned: Share = 0.1
    share: Share = 0.2
    floor: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 10.0


class DataConfig(_Section, frozen=True):
    """`[data]`: the store behind SPLDataService."""

    path: str | None = None
    sync: Literal["full", "normal"] = "full"


class ModulesConfig(_Section, frozen=True):
    """`[modules]`: the modules behind SPLExecuteService, and the processes they run in."""

    path: str | None = None
    max_workers: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 16
    idle_workers: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 2

    def __post_init__(self) -> None:
        if self.idle_workers > self.max_workers:
            raise ValueError(f"idle_workers = {self.idle_workers} must not be above max_workers = {self.max_workers}")


class DiscoveryConfig(_Section, frozen=True):
    """`[discovery]`: how nodes find each other."""

    mdns: Literal["auto", "on", "off"] = "auto"
    interfaces: tuple[str, ...] = msgspec.field(default_factory=lambda: ("default",))
    peers: tuple[str, ...] = msgspec.field(default_factory=lambda: ())
    file: str | None = None
    dns: tuple[str, ...] = msgspec.field(default_factory=lambda: ())
    weight: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 1.0

    def __post_init__(self) -> None:
        for text in self.peers:
            try:
                Endpoint.parse(text)
            except ConfigError as error:
                raise ValueError(f"peers: {error}") from None


class LogConfig(_Section, frozen=True):
    """`[log]`: what is said on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


def _limits_section() -> type[msgspec.Struct]:
    fields = typing.get_type_hints(Limits, include_extras=True)
    typed = []
    for name, annotated in fields.items():
        kind, bounds = typing.get_args(annotated)
        typed.append((name, Annotated[kind, msgspec.Meta(**bounds._asdict())], getattr(Limits, name)))
    return msgspec.defstruct("Limits", typed, frozen=True, forbid_unknown_fields=True)


LIMITS: Final = _limits_section()
"""`[limits]` as msgspec reads it: the fields of Limits, which is no Struct, since whoever calls needs no msgspec."""


class Config(_Section, frozen=True):
    """All settings. `Config()` is what an empty file gives; change one with `msgspec.structs.replace`."""

    node: NodeConfig = msgspec.field(default_factory=NodeConfig)
    limits: Limits = msgspec.field(default_factory=Limits)
    calls: CallsConfig = msgspec.field(default_factory=CallsConfig)
    admission: AdmissionConfig = msgspec.field(default_factory=AdmissionConfig)
    channels: ChannelsConfig = msgspec.field(default_factory=ChannelsConfig)
    balance: BalanceConfig = msgspec.field(default_factory=BalanceConfig)
    ejection: EjectionConfig = msgspec.field(default_factory=EjectionConfig)
    retry: RetryConfig = msgspec.field(default_factory=RetryConfig)
    data: DataConfig = msgspec.field(default_factory=DataConfig)
    modules: ModulesConfig = msgspec.field(default_factory=ModulesConfig)
    discovery: DiscoveryConfig = msgspec.field(default_factory=DiscoveryConfig)
    log: LogConfig = msgspec.field(default_factory=LogConfig)

    @property
    def directory(self) -> Path:
        """Where the node keeps its id and, unless told otherwise, its data. It may not exist yet."""
        return Path(self.node.directory).expanduser()

    @property
    def data_directory(self) -> Path:
        """Where SPLDataService keeps its store: `[data] path`, or `data` in the node's directory."""
        return Path(self.data.path).expanduser() if self.data.path else self.directory / "data"

    @property
    def modules_directory(self) -> Path | None:
        """Where the modules are; None: only the built-in ones."""
        return Path(self.modules.path).expanduser() if self.modules.path else None


def load(path: Path | None) -> Config:
    """The settings of a file; None gives the defaults. ConfigError if it cannot be read or used.

    Relative paths in the file are taken from the file's own directory.
    """
    if path is None:
        return Config()
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"config {str(path)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"config {str(path)!r} is not UTF-8: byte {error.start}") from None
    return _anchor(parse(text, str(path)), path.resolve().parent)


def checked_id(text: str) -> str:
    """The text, if it may name a node. ConfigError."""
    try:
        return msgspec.convert(text, Name)
    except msgspec.ValidationError:
        raise ConfigError(f"{text!r} names no node: 1 to 63 letters, digits, dots, dashes and underscores") from None


def anchored_service(spec: str, base: Path) -> str:
    """PROTOCOL=MODULE:CLASS with its files, if it names any, below `base`."""
    protocol, sign, target = spec.partition("=")
    if protocol.endswith(".avpr"):
        protocol = str(base / protocol)
    if target.rpartition(":")[0].endswith(".py"):
        target = str(base / target)
    return protocol + sign + target


def parse(text: str, source: str = "config") -> Config:
    """The settings of a TOML text; `source` names it in errors. ConfigError says what to change."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source}: not TOML: nested too deep") from None
    _refuse_unknown(tree, source)
    try:
        return msgspec.convert(tree, Config, dec_hook=_read_limits)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_explain(str(error), tree)}") from None
    except ConfigError as error:
        raise ConfigError(f"{source}: node.listen: {error}") from None


def to_builtins(config: Config) -> dict[str, dict[str, Any]]:
    """The settings as plain values, by section and key."""
    return typing.cast("dict[str, dict[str, Any]]", msgspec.to_builtins(config, enc_hook=vars))


def from_builtins(tree: Mapping[str, Any]) -> Config:
    """The settings that `to_builtins` gave, in this process or another."""
    return msgspec.convert(tree, Config, dec_hook=_read_limits)


def sections() -> dict[str, type[msgspec.Struct]]:
    """The sections of the file by name, in order, and the class that each is read into."""
    return {field.name: _struct_of(field) for field in msgspec.structs.fields(Config)}


def _struct_of(field: msgspec.structs.FieldInfo) -> type[msgspec.Struct]:
    if field.type is Limits:
        return LIMITS
    assert isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    return field.type


def _read_limits(_: type, given: object) -> Limits:
    try:
        return Limits(**msgspec.structs.asdict(msgspec.convert(given, LIMITS)))
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(str(error).replace("`$", "`$.limits")) from None


def _base(variable: str, below_home: str) -> Path:
    """One of the XDG base directories; the specification ignores relative ones."""
    given = os.environ.get(variable, "")
    return Path(given) if Path(given).is_absolute() else Path.home() / below_home


def _anchor(config: Config, base: Path) -> Config:
    """The same with relative paths made absolute, so that they do not depend on where the node is started."""
    replace = msgspec.structs.replace

    def absolute(text: str) -> str:
        return str(base / Path(text).expanduser())

    node, data, modules, discovery = config.node, config.data, config.modules, config.discovery
    return replace(
        config,
        node=replace(
            node,
            directory=absolute(node.directory),
            services=tuple(anchored_service(spec, base) for spec in node.services),
        ),
        data=replace(data, path=absolute(data.path)) if data.path else data,
        modules=replace(modules, path=absolute(modules.path)) if modules.path else modules,
        discovery=replace(discovery, file=absolute(discovery.file)) if discovery.file else discovery,
    )


def _refuse_unknown(tree: Mapping[str, Any], source: str) -> None:
    """msgspec would name the key, but neither the nearest good one nor the section where it belongs."""
    known = {name: [field.name for field in msgspec.structs.fields(struct)] for name, struct in sections().items()}
    for section, content in tree.items():
        if section not in known:
            raise ConfigError(f"{source}: unknown {_named(section, content)}; {_suggest_section(section, known)}")
        if not isinstance(content, dict):
            raise ConfigError(f"{source}: {section} is a section: write [{section}] and its keys below it")
        for key in content:
            if key not in known[section]:
                raise ConfigError(f"{source}: unknown key {section}.{key}; {_suggest_key(section, key, known)}")


def _named(name: str, content: object) -> str:
    return f"section [{name}]" if isinstance(content, dict) else f"key {name}"


def _suggest_section(name: str, known: Mapping[str, list[str]]) -> str:
    owners = [section for section, keys in known.items() if name in keys]
    if owners:
        return "it belongs into " + " or ".join(f"[{owner}]" for owner in owners)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean [{near[0]}]?" if near else "there are " + ", ".join(f"[{section}]" for section in known)


def _suggest_key(section: str, key: str, known: Mapping[str, list[str]]) -> str:
    near = difflib.get_close_matches(key, known[section], n=1)
    if near:
        return f"did you mean {section}.{near[0]}?"
    elsewhere = [f"{other}.{key}" for other, keys in known.items() if key in keys]
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    return f"[{section}] has {', '.join(known[section])}"


def _explain(message: str, tree: Mapping[str, Any]) -> str:
    """msgspec's sentence with the key in front and the value behind it."""
    match = re.fullmatch(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", message, re.DOTALL)
    assert match is not None
    path = match["path"] or ""
    value: Any = tree
    for step in re.findall(r"[^.\[\]]+", path):
        value = value[int(step)] if isinstance(value, list) else value.get(step)
    choices = _choices(path)
    if choices:
        return f"{path}: expected one of {', '.join(choices)}, found {value!r}"
    what = re.sub(r"^E(xpected .*?)(, got `\w+`)?$", r"e\1", match["what"])
    return f"{path}: {what}" + ("" if isinstance(value, dict) else f", found {value!r}")


def _choices(path: str) -> tuple[str, ...]:
    """The words that a key can have, if it is one that has words."""
    section, _, key = path.partition(".")
    for field in msgspec.structs.fields(sections()[section]):
        if field.name == key and typing.get_origin(field.type) is Literal:
            return typing.get_args(field.type)
    return ()
