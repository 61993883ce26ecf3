"""msgspec's Structs, told apart without importing msgspec: whoever has one has imported it.

That import costs more than all else that a short program needs to make a call.
"""

from typing import Any, TypeGuard


class Struct:
    """What is read of a msgspec.Struct here; for annotations only."""

    __struct_fields__: tuple[str, ...]
    __struct_encode_fields__: tuple[str, ...]
    __struct_config__: Any


def is_struct(value: object) -> TypeGuard[Struct]:
    """Whether the value is a msgspec.Struct."""
    return is_struct_class(type(value))


def is_struct_class(kind: object) -> TypeGuard[type[Struct]]:
    """Whether it is a subclass of msgspec.Struct."""
    # The metaclass has the name too, but as a descriptor.
    return isinstance(kind, type) and isinstance(getattr(kind, "__struct_fields__", None), tuple)
