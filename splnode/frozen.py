"""Small values with named fields: what a frozen dataclass is, without the import that costs a short program 7 ms."""

from typing import Any, Self, dataclass_transform


@dataclass_transform(frozen_default=True)
class Frozen:
    """Its subclasses' annotated fields, in their order, with their defaults; equal by value, hashable, unchangeable."""

    def __init__(self, *args: Any, **given: Any) -> None:
        kind = type(self)
        names = kind.__annotations__
        if len(args) > len(names):
            raise TypeError(f"{kind.__name__} has {len(names)} fields ({', '.join(names)}), {len(args)} were given")
        values = dict(zip(names, args, strict=False))
        for name, value in given.items():
            if name not in names or name in values:
                raise TypeError(f"{kind.__name__}: {name!r} is {'given twice' if name in values else 'no field'}")
            values[name] = value
        try:
            self.__dict__.update({name: values[name] if name in values else getattr(kind, name) for name in names})
        except AttributeError as error:
            raise TypeError(f"{kind.__name__} needs {error.name!r}") from None

    def replace(self, **changed: Any) -> Self:
        """A copy with some fields changed. TypeError for a name that is no field."""
        return type(self)(**{**self.__dict__, **changed})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make another with replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"
