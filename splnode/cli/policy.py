"""Says who may call what, by a node's settings, or by a policy file that is not in force yet.

  splnode policy test uid:1001 SPLDataService.write    which rule decides
  splnode policy test token:ci Shop.buy --config node.toml
  splnode policy show                                  the rules, with their lines

IDENTITY is as the audit log has it: uid:1000, spiffe://MESH/node/ID, token:NAME, loopback, anyone, insecure, node. Its
groups follow from that as for who calls; --group adds others. Exit code 0: it is allowed; 1: it is denied.
"""

import argparse
import os
from pathlib import Path
from typing import Final

from splnode import config
from splnode.access.guard import Guard
from splnode.access.keeper import read_policy
from splnode.access.policy import DEFAULT, TOKEN, Policy, Verdict, default_policy, default_text, shipped
from splnode.access.tokens import TokenFile, Tokens
from splnode.avro.protocol import find_protocol
from splnode.cli import output
from splnode.cli.dial import split_name
from splnode.cli.failure import UsageError, say
from splnode.identity import INSECURE, LOOPBACK, MESH, NODE, OWN, UNIX, Identity

DENIED: Final = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `policy`."""
    parser.add_argument("action", choices=("test", "show"))
    parser.add_argument("identity", metavar="IDENTITY", nargs="?", help="test: who would call")
    parser.add_argument("message", metavar="SERVICE.MESSAGE", nargs="?", help="test: what, by its full name")
    parser.add_argument("--group", metavar="NAME", action="append", default=[], help="test: a group that it is in too")
    parser.add_argument("--policy", metavar="FILE", type=Path, help="these rules instead of those in force")
    parser.add_argument("--config", metavar="FILE", type=Path, help="the settings of the node (default: none)")
    parser.add_argument("--json", action="store_true", help="JSON on a terminal too")


def run(args: argparse.Namespace) -> int:
    """Prints what was asked for. ConfigError for a file that cannot be used."""
    settings = config.load(args.config)
    path = args.policy or settings.policy_file
    policy = read_policy(path)
    if args.action == "show":
        if args.identity:
            raise UsageError("policy show takes no identity: it shows all rules")
        _show(path, policy)
        return 0
    if not (args.identity and args.message):
        raise UsageError("policy test IDENTITY SERVICE.MESSAGE: say who calls what")
    who = identity_of(args.identity, args.group)
    hint(args.message)
    verdict = decide(policy, TokenFile(settings.tokens_file), who, args.message)
    if output.wants_text(args.json):
        word = output.paint("allowed", output.GREEN) if verdict.allowed else output.paint("denied", output.RED)
        rule = f" {verdict.rule}" if verdict.line else ""
        output.emit_text(f"{word}: {verdict.place}{rule}")
    else:
        told = {"identity": who.name, "groups": sorted(who.groups), "message": args.message}
        output.emit({"allowed": verdict.allowed, **told, **_why(verdict)})
    return 0 if verdict.allowed else DENIED


def hint(message: str) -> None:
    """Says where it can hardly be what is meant: a policy has full names alone, and only messages that there are. A
    service that is not splnode's own is not known here. UsageError.
    """
    service, name = split_name(message)
    full = next((each for each in shipped() if service == each.rpartition(".")[2]), service)
    if full != service:
        say(f"this is asked of a service {service} without a namespace; if you mean splnode's own, say {full}.{name}")
    elif full in shipped() and name not in (messages := find_protocol(full).messages):
        say(f"{full} has no message {name!r}; it has {', '.join(messages)}")


def decide(policy: Policy, tokens: TokenFile, who: Identity, message: str) -> Verdict:
    """What the node would say. A token counts with its own groups, and for what it was made. UsageError."""
    service, name = split_name(message)
    known = tokens.read() if TOKEN in who.groups else []
    for token in known:
        if who.name == token.identity.name:
            who = Identity(who.name, {*who.groups, *token.groups}, who.how)
    return Guard(policy, Tokens(known)).verdict(who, service, name)


def identity_of(name: str, groups: list[str]) -> Identity:
    """Who is meant, with the groups that come by the name. UsageError."""
    if name == NODE.name and not groups:
        return NODE
    kind = name.partition(":")[0]
    by_name = {"spiffe": MESH, "token": TOKEN, "loopback": LOOPBACK, "insecure": INSECURE}
    own = [by_name[kind]] if kind in by_name else []
    if kind == "uid":
        own = [OWN if name in ("uid:0", f"uid:{os.getuid()}") else UNIX]
    try:
        return Identity("anyone" if name == "insecure" else name, [*own, *groups])
    except ValueError as error:
        raise UsageError(str(error)) from None


def _show(path: Path | None, policy: Policy) -> None:
    if path is not None:
        _show_text(path.read_text("utf-8"))
        if policy.rules[-1:] != default_policy().rules[-1:]:
            return
        output.emit_text(f"\n# then the {DEFAULT}:\n")
    _show_text(default_text())


def _show_text(text: str) -> None:
    lines = text.splitlines()
    width = len(str(len(lines)))
    output.emit_text("\n".join(f"{number:{width}}  {line}".rstrip() for number, line in enumerate(lines, 1)))


def _why(verdict: Verdict) -> dict[str, object]:
    return {"file": verdict.source or None, "line": verdict.line or None, "rule": verdict.rule}
