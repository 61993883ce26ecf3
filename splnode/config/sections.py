"""The sections of the file, each a frozen class, and `Config`, which has them all."""

import typing
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from splnode.config.paths import default_directory, default_listen
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.limits import Limits

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Pause = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Number = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
MOST_WORKERS: Final = 256


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
    resolvers: tuple[str, ...] = msgspec.field(default_factory=lambda: ())
    same_host: bool = True
    check_interval: Pause = 12.0
    check_rate: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 10.0
    check_strikes: Number = 3
    gone_seconds: Pause = 30.0
    weight: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 1.0

    def __post_init__(self) -> None:
        for text in self.peers:
            try:
                Endpoint.parse(text)
            except ConfigError as error:
                raise ValueError(f"peers: {error}") from None


class AccessConfig(_Section, frozen=True):
    """`[access]`: who may call what, and where it is written down."""

    policy: str | None = None
    tokens: str | None = None
    audit: str | None = None
    audit_calls: Literal["denied", "all"] = "denied"
    core_dumps: bool = False


class TlsConfig(_Section, frozen=True):
    """`[tls]`: what this node proves itself by on encrypted connections, and whom it believes."""

    certificate: str | None = None
    key: str | None = None
    authority: str | None = None
    certificates: tuple[str, ...] = msgspec.field(default_factory=lambda: ())
    mesh_key: str | None = None
    mutual: Literal["ask", "on", "off"] = "ask"
    plain: Literal["off", "both"] = "off"


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
    tls: TlsConfig = msgspec.field(default_factory=TlsConfig)
    access: AccessConfig = msgspec.field(default_factory=AccessConfig)
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
    def policy_file(self) -> Path | None:
        """The policy; None: the one that is shipped."""
        return Path(self.access.policy).expanduser() if self.access.policy else None

    @property
    def tokens_file(self) -> Path:
        """Where the hashes of the node's tokens are: `[access] tokens`, or `tokens.json` in the node's directory."""
        return Path(self.access.tokens).expanduser() if self.access.tokens else self.directory / "tokens.json"

    @property
    def audit_file(self) -> Path:
        """Where denials are written down: `[access] audit`, or `audit.jsonl` in the node's directory."""
        return Path(self.access.audit).expanduser() if self.access.audit else self.directory / "audit.jsonl"

    @property
    def modules_directory(self) -> Path | None:
        """Where the modules are; None: only the built-in ones."""
        return Path(self.modules.path).expanduser() if self.modules.path else None


def sections() -> dict[str, type[msgspec.Struct]]:
    """The sections of the file by name, in order, and the class that each is read into."""
    return {field.name: _struct_of(field) for field in msgspec.structs.fields(Config)}


def _struct_of(field: msgspec.structs.FieldInfo) -> type[msgspec.Struct]:
    if field.type is Limits:
        return LIMITS
    assert isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    return field.type
