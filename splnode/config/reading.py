"""From TOML to settings: `load` reads a file, `parse` a text. Every mistake is named with its fix."""

import difflib
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from splnode.config.sections import LIMITS, Config, Name, sections
from splnode.errors import ConfigError
from splnode.limits import Limits


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
    return protocol + sign + anchored_class(target, base)


def anchored_class(target: str, base: Path) -> str:
    """MODULE:CLASS with its file, if it names one, below `base`."""
    return str(base / target) if target.rpartition(":")[0].endswith(".py") else target


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


def differences(old: Config, new: Config) -> list[tuple[str, Any, Any]]:
    """The settings that differ: `section.key`, and its values in both."""
    before, after = to_builtins(old), to_builtins(new)
    return [
        (f"{section}.{key}", value, after[section][key])
        for section, keys in before.items()
        for key, value in keys.items()
        if value != after[section][key]
    ]


def from_builtins(tree: Mapping[str, Any]) -> Config:
    """The settings that `to_builtins` gave, in this process or another."""
    return msgspec.convert(tree, Config, dec_hook=_read_limits)


def _read_limits(_: type, given: object) -> Limits:
    try:
        return Limits(**msgspec.structs.asdict(msgspec.convert(given, LIMITS)))
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(str(error).replace("`$", "`$.limits")) from None


_TLS_FILES: Final = ("certificate", "key", "authority", "mesh_key")


def _anchor(config: Config, base: Path) -> Config:
    """The same with relative paths made absolute, so that they do not depend on where the node is started."""
    replace = msgspec.structs.replace

    def absolute(text: str) -> str:
        return str(base / Path(text).expanduser())

    node, data, modules, discovery = config.node, config.data, config.modules, config.discovery
    access, tls = config.access, config.tls
    secrets = {name: absolute(path) for name in _TLS_FILES if (path := getattr(tls, name))}
    further = tuple(absolute(path) for path in tls.certificates)
    files = {key: absolute(path) for key in ("policy", "tokens", "audit") if (path := getattr(access, key))}
    return replace(
        config,
        node=replace(
            node,
            directory=absolute(node.directory),
            services=tuple(anchored_service(spec, base) for spec in node.services),
        ),
        data=replace(data, path=absolute(data.path)) if data.path else data,
        modules=replace(modules, path=absolute(modules.path)) if modules.path else modules,
        discovery=replace(
            discovery,
            file=absolute(discovery.file) if discovery.file else None,
            resolvers=tuple(anchored_class(target, base) for target in discovery.resolvers),
        ),
        access=replace(access, **files),
        tls=replace(tls, certificates=further, **secrets),
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
