"""A policy: which identity may call which message. TOML in, verdicts out; it knows no files, clocks or calls.

```toml
then = "default"                      # after these rules those that are shipped; without it: nothing else is allowed

[groups]                              # groups of one's own; those of tokens are named here too, if only with []
operators = ["uid:1001", "token:ops-*"]

[[rule]]
who = ["@operators", "spiffe://home/node/*"]
deny = ["SPLDataService.write", "com.acme.*"]
```

`who` has names of identities and `@groups`, `allow` or `deny` services (all of their messages), messages of services,
and `@added`: every service that is not splnode's own. `*` in any of them stands for any characters. The first rule that
fits both decides; where none fits it is denied.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

from splnode.errors import ConfigError
from splnode.identity import GROUPS, Identity

TOKEN: Final = "token"
"""The group of all who have brought a token."""
ADDED: Final = "@added"
DEFAULT: Final = "default policy"
"""What the shipped policy is called."""
UNSHIPPED: Final = ("SPLPipelineService", "SPLContainerService", "SPlectrumEngine", "com.splectrum.rpc.SPlectrumEngine")
"""Names that are splnode's own though a node may not have them."""
_MESSAGES: Final = re.compile(r"[A-Za-z0-9_.*]+")  # names of Avro, and a star
_HEADER: Final = re.compile(r"^[ \t]*\[\[[ \t]*rule[ \t]*\]\]", re.MULTILINE)

Matches = Callable[[str], object]


class Verdict(NamedTuple):
    """Whether it is allowed, and the rule that says so: where its line is (0: no rule fits), and what it says.

    Without a `source` it is no policy's: then `rule` alone says why.
    """

    allowed: bool
    source: str
    line: int
    rule: str

    @property
    def place(self) -> str:
        """`FILE:LINE`, or that no line of it fits."""
        if not self.source:
            return self.rule
        return f"{self.source}:{self.line}" if self.line else f"no rule of {self.source} fits"


class Rule:
    """One rule. `fits` says whether it is about an identity and a message."""

    def __init__(self, source: str, line: int, who: Sequence[str], verb: str, what: Sequence[str]) -> None:
        self.verdict = Verdict(verb == "allow", source, line, f"{verb} {', '.join(what)} to {', '.join(who)}")
        self._groups = frozenset(word[1:] for word in who if word.startswith("@"))
        self._who = _matcher(word for word in who if not word.startswith("@"))
        self._what = _matcher(word for word in what if word != ADDED)
        self._added = ADDED in what

    def fits(self, identity: Identity, service: str, message: str) -> bool:
        """Whether it says something of this call."""
        if self._groups.isdisjoint(identity.groups) and not self._who(identity.name):
            return False
        return bool(
            self._what(service) or self._what(f"{service}.{message}") or (self._added and not is_shipped(service))
        )


class Policy:
    """Rules in order. Made by `parse`."""

    def __init__(self, source: str, rules: Sequence[Rule], groups: Mapping[str, Matches]) -> None:
        self.source = source
        self.rules = tuple(rules)
        self._groups = groups

    def decide(self, identity: Identity, service: str, message: str) -> Verdict:
        """Whether the identity may call the message of the service, by their full names."""
        known = self.known(identity)
        for rule in self.rules:
            if rule.fits(known, service, message):
                return rule.verdict
        return Verdict(False, self.source, 0, "nothing else is allowed")

    def known(self, identity: Identity) -> Identity:
        """The same with the groups that the policy puts it into."""
        more = [group for group, has in self._groups.items() if has(identity.name)]
        return Identity(identity.name, {*identity.groups, *more}, identity.how) if more else identity


def parse(text: str, source: str = "policy") -> Policy:
    """The policy of a TOML text; `source` is its name in verdicts and errors. ConfigError, with the line."""
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{source}: not TOML: {error}") from None
    for key in tree:
        if key not in ("then", "groups", "rule"):
            raise ConfigError(f"{source}: unknown key {key!r}; there are then, [groups] and [[rule]]")
    then = tree.get("then")
    if then not in (None, "default"):
        raise ConfigError(f'{source}: then = {then!r}; the only policy that can follow is "default"')
    groups = _groups(tree.get("groups", {}), source)
    given = tree.get("rule", [])
    lines = [text.count("\n", 0, found.end()) + 1 for found in _HEADER.finditer(text)]
    if not isinstance(given, list) or len(given) != len(lines):
        raise ConfigError(f"{source}: begin each rule with [[rule]] on a line of its own, and write that nowhere else")
    rules = [_rule(each, source, line, groups) for each, line in zip(given, lines, strict=True)]
    if then == "default":
        rules += default_policy().rules
    return Policy(source, rules, {name: _matcher(members) for name, members in groups.items()})


@cache
def default_policy() -> Policy:
    """The shipped one."""
    return parse(default_text(), DEFAULT)


def default_text() -> str:
    """The shipped one, as it is written."""
    return resources.files("splnode.access").joinpath("default.toml").read_text("utf-8")


@cache
def is_shipped(service: str) -> bool:
    """Whether a service of this full name is splnode's own."""
    return service in UNSHIPPED or service.startswith("splnode.") or service in shipped()


@cache
def shipped() -> frozenset[str]:
    """The full names of splnode's own protocols."""
    files = resources.files("splnode").joinpath("protocols").iterdir()
    return frozenset(file.name.removesuffix(".avpr") for file in files)


def pattern(words: Iterable[str]) -> Matches:
    """What says whether a text is like one of the words, in which `*` stands for any characters."""
    return _matcher(words)


def names_messages(word: str) -> bool:
    """Whether it is a service, or a message of one, or stands for some: a slip of the pen would deny nothing."""
    return _MESSAGES.fullmatch(word) is not None


def _matcher(words: Iterable[str]) -> Matches:
    alternatives = "|".join(".*".join(re.escape(part) for part in word.split("*")) for word in words)
    return re.compile(alternatives or r"(?!)", re.DOTALL).fullmatch


def _groups(given: Any, source: str) -> dict[str, list[str]]:
    if not isinstance(given, dict):
        raise ConfigError(f"{source}: groups is a section: write [groups] and name = [...] below it")
    for name, members in given.items():
        if name in (*GROUPS, TOKEN):
            raise ConfigError(f"{source}: groups.{name}: who is in {name} shows by how one comes; take another name")
        _words(members, f"{source}: groups.{name}", empty=True)
        if nested := [member for member in members if member.startswith("@")]:
            raise ConfigError(f"{source}: groups.{name}: {nested[0]} is a group; its members are identities")
    return given


def _rule(given: Any, source: str, line: int, groups: Mapping[str, object]) -> Rule:
    where = f"{source}:{line}"
    for key in given:
        if key not in ("who", "allow", "deny"):
            raise ConfigError(f"{where}: unknown key {key!r}; a rule has who, and allow or deny")
    if "who" not in given or ("allow" in given) == ("deny" in given):
        raise ConfigError(f"{where}: a rule has who, and one of allow and deny")
    verb = "allow" if "allow" in given else "deny"
    who, what = _words(given["who"], f"{where}: who"), _words(given[verb], f"{where}: {verb}")
    for word in who:
        if word.startswith("@") and word[1:] not in (*GROUPS, TOKEN, *groups):
            known = ", ".join(f"@{name}" for name in (*GROUPS, TOKEN, *groups))
            raise ConfigError(f"{where}: there is no group {word}; there are {known}, and those named in [groups]")
    for word in what:
        if word.startswith("@") and word != ADDED:
            raise ConfigError(f"{where}: {verb} has services, messages and {ADDED}, not {word}")
        if word != ADDED and not names_messages(word):
            raise ConfigError(f"{where}: {word!r} names no service and no message: each is SERVICE or SERVICE.MESSAGE")
    return Rule(source, line, who, verb, what)


def _words(given: Any, where: str, *, empty: bool = False) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(each, str) and each for each in given):
        raise ConfigError(f"{where}: a list of texts is needed, not {given!r:.100}")
    if not given and not empty:
        raise ConfigError(f"{where}: it names nobody and nothing")
    return given
