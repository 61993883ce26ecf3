"""Every error a caller of splnode can meet, and who made it.

```
SplnodeError
├─ ConfigError          a setting, a file or a flag: names the key, the value and the fix
├─ SchemaError          a schema or protocol is malformed, or two do not fit
├─ DataError            a value or some bytes that a schema does not admit
│  ├─ EncodeError         the value handed to us (the caller's fault)
│  ├─ DecodeError         the bytes handed to us (the sender's fault)
│  └─ LimitExceeded       one of the named limits; either direction
├─ WireError
│  ├─ LocalWireError      we misused the wire
│  └─ RemoteWireError     the peer did: the connection must be closed
├─ CallError            a call failed: one of gRPC's sixteen codes
└─ DeclaredError        the errors that a protocol declares, one subclass each
```

No other exception class leaves the library on purpose.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class SplnodeError(Exception):
    """The root of all errors that splnode raises on purpose."""


class ConfigError(SplnodeError):
    """A setting, a file or a flag that cannot be used. The text names it, its value and the fix."""


class SchemaError(SplnodeError):
    """A schema or a protocol is malformed, or two do not fit each other.

    `path` is where (`types[3].fields.sku`), `reasons` one sentence for each thing that is wrong.
    """

    def __init__(self, reasons: str | Sequence[str], path: str = "") -> None:
        self.reasons: tuple[str, ...] = (reasons,) if isinstance(reasons, str) else tuple(reasons)
        self.path = path
        super().__init__((f"{path}: " if path else "") + "; ".join(self.reasons))


class DataError(SplnodeError):
    """A value or some bytes that a schema does not admit.

    Raised at the place of the fault and carried upwards: every container on the way adds its own
    step, so that `path` reads like the value (`request.headers["x"][3].count`).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self._steps: list[str] = []

    def at(self, step: str) -> None:
        """Adds the step that leads to the fault: `.name`, `[3]` or `["key"]`; innermost first."""
        self._steps.append(step)

    @property
    def path(self) -> str:
        """The way from the datum to the fault; empty at the datum itself."""
        return "".join(reversed(self._steps)).removeprefix(".")

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self._steps else self.reason


class EncodeError(DataError):
    """The value does not fit the schema: its giver's fault."""


class DecodeError(DataError):
    """The bytes are not a datum of the schema: their sender's fault."""


class LimitExceeded(DataError):
    """A named limit was reached. `limit` is its name in `Limits`, `allowed` its value."""

    def __init__(self, limit: str, allowed: int, what: str) -> None:
        super().__init__(f"{what} (limit {limit} = {allowed})")
        self.limit = limit
        self.allowed = allowed
        self.args = (limit, allowed, what)  # what a copy is made of


class WireError(SplnodeError):
    """The rules of Avro IPC were broken."""


class LocalWireError(WireError):
    """By this end: a bug in its caller. Nothing was sent."""


class RemoteWireError(WireError):
    """By the other end. The connection cannot go on and must be closed."""


class Code(enum.IntEnum):
    """gRPC's sixteen status codes, and no others. (grpc/doc/statuscodes.md)"""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class CallError(SplnodeError):
    """A call failed for another reason than an error its protocol declares.

    `remote` says who said so: the peer, or this end. `attempts` holds a sentence for each endpoint
    that was tried. `retry_after` is in seconds. `started` is False only where the call provably never
    reached a handler, so that it may be sent again whatever it does. `hops` is not 0 where nodes called one another
    in a circle: how many of them in a row, until one cut it.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        remote: bool = False,
        attempts: Sequence[str] = (),
        retry_after: float | None = None,
        started: bool = True,
        hops: int = 0,
    ) -> None:
        self.code = code
        self.message = message
        self.remote = remote
        self.attempts = tuple(attempts)
        self.retry_after = retry_after
        self.started = started
        self.hops = hops
        super().__init__(code, message)

    def __str__(self) -> str:
        tried = "".join(f"\n  {attempt}" for attempt in self.attempts)
        return f"{self.code.name}: {self.message}{tried}"


class DeclaredError(SplnodeError):
    """An error that the protocol declares; a handler raises it and the caller gets it.

    A subclass stands for one Avro error type and is named by `schema_name`, the full or the short
    name (by default the class's own). The fields are keyword arguments and then attributes:

        class OutOfStock(DeclaredError): ...
        raise OutOfStock(sku="A1")
    """

    schema_name: ClassVar[str] = ""

    def __init__(self, /, **fields: Any) -> None:  # an error may have a field named self
        self.value: Mapping[str, Any] = fields
        super().__init__(fields)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "schema_name" not in cls.__dict__:
            cls.schema_name = cls.__name__

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), dict(self.value))

    def __getattr__(self, name: str) -> Any:
        if name == "value":  # not yet set: unpickling and copying ask early
            raise AttributeError(name)
        try:
            return self.value[name]
        except KeyError:
            raise AttributeError(f"{self.schema_name} has no field {name!r}") from None

    def __str__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.value.items())
        return f"{self.schema_name}({fields})"


def _again(kind: type[DeclaredError], fields: dict[str, Any]) -> DeclaredError:
    """A copy of an error whose fields are keyword arguments, which BaseException cannot copy itself."""
    return kind(**fields)
