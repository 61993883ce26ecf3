"""The guard by itself; that nobody gets round it is tested in test_ways_round.py."""

import json
from pathlib import Path
from typing import Any

import pytest

from splnode.access.audit import Audit
from splnode.access.guard import KEPT, PLAIN, REFUSED, Guard
from splnode.access.policy import parse
from splnode.access.tokens import Token, Tokens, digest
from splnode.errors import CallError, Code
from splnode.identity import IDENTITY_KEY, NODE, Identity
from splnode.rpc.call import IN_PROCESS, Call, Peer, running
from splnode.wire.message import Contract
from tests.rpc.conftest import PROTOCOL

CONTRACT = Contract(PROTOCOL)
LATER = 1e12
POLICY = parse(
    """\
[groups]
bots = []
[[rule]]
who = ["uid:7", "@bots", "@mesh", "ann"]
allow = ["com.acme.Inventory.add"]
[[rule]]
who = ["@own"]
allow = ["*"]
""",
    "/etc/splnode/p.toml",
)
SECRET = "spl_secret"
TOKENS = Tokens([Token("ci", digest(SECRET), ("com.acme.Inventory",), ("bots",), expires=100.0)])
OTHER, OWN = Identity("uid:7", ("unix",), "unix"), Identity("uid:1", ("own",), "unix")
MEMBER = Identity("spiffe://home/node/b", ("mesh",), "certificate")
REMOTE, INSECURE = Identity("anyone", (), "tcp"), Identity("anyone", ("insecure",), "tcp")


def guard(audit: Audit | None = None, now: float = 50.0, **more: Any) -> Guard:
    return Guard(POLICY, TOKENS, audit, clock=lambda: now, **more)


def call(who: Identity, message: str = "add", metadata: dict[str, bytes] | None = None, **peer: Any) -> Call:
    from_there = IN_PROCESS if who is NODE else Peer("tcp://192.0.2.1:4000", None, who, **peer)
    return Call(CONTRACT, PROTOCOL.messages[message], {}, LATER, metadata or {}, from_there)


def refused(by: Guard, what: Call, **here: bool) -> tuple[Code, str]:
    with pytest.raises(CallError) as caught:
        by.check(what, **here)
    assert not caught.value.started
    return caught.value.code, caught.value.message


def test_what_is_denied_says_who_what_and_which_line() -> None:
    guard().check(call(OTHER))
    assert refused(guard(), call(OTHER, "reserve")) == (
        Code.PERMISSION_DENIED,
        "uid:7 may not call com.acme.Inventory.reserve (no rule of p.toml fits)",
    )
    denying = Guard(parse('\n[[rule]]\nwho = ["*"]\ndeny = ["*"]', "/etc/secret-place/p.toml"))
    assert refused(denying, call(OTHER)) == (
        Code.PERMISSION_DENIED,
        "uid:7 may not call com.acme.Inventory.add (p.toml:2)",
    )
    assert denying.denied == {"PERMISSION_DENIED": 1, "UNAUTHENTICATED": 0}


def test_both_who_brings_a_call_and_whom_it_is_for_must_be_allowed() -> None:
    for_ann, for_bob = {"spl-identity": b"ann own"}, {"spl-identity": b"bob own"}
    guard().check(call(MEMBER, metadata=for_ann))
    guard().check(call(MEMBER, metadata=for_bob))  # whom a member names is of the mesh
    only_ann = Guard(parse('[[rule]]\nwho = ["ann", "spiffe://*"]\nallow = ["*"]'))
    only_ann.check(call(MEMBER, metadata=for_ann))
    assert "bob may not" in refused(only_ann, call(MEMBER, metadata=for_bob))[1]
    not_members = Guard(parse('[[rule]]\nwho = ["ann"]\nallow = ["*"]'))
    assert "spiffe://home/node/b may not" in refused(not_members, call(MEMBER, metadata=for_ann))[1]


def test_a_token_says_who_it_is_and_leaves_the_call() -> None:
    bearer = {"authorization": f"Bearer {SECRET}".encode(), "k": b"v", "spl-identity": b"node own"}
    for who in (REMOTE, OTHER, OWN, MEMBER):
        brought = call(who, metadata=bearer)
        guard().check(brought)
        assert brought.identity.name == "token:ci"
        assert brought.identity.groups == {"token", "bots", "anyone"}
        assert "authorization" not in brought.metadata
        assert brought.metadata["k"] == b"v"
    assert "token:ci may not" in refused(guard(), call(OWN, "reserve", bearer))[1]


@pytest.mark.parametrize(
    "value",
    [b"", b"Bearer", b"Bearer ", b"Bearer spl_other", b"Basic spl_secret", b"spl_secret", b"\xff", b"Bearer \xff"],
)
def test_a_bad_token_is_not_told_why(value: bytes) -> None:
    for metadata in ({"authorization": value}, {"authorization": value, "spl-identity": b"node own"}):
        assert refused(guard(), call(OWN, metadata=metadata)) == (Code.UNAUTHENTICATED, REFUSED)
    old = {"authorization": f"bearer {SECRET}".encode()}
    assert refused(guard(now=100.0), call(OWN, metadata=old)) == (Code.UNAUTHENTICATED, REFUSED)


def test_a_token_must_not_come_over_a_plain_link() -> None:
    bearer = {"authorization": f"Bearer {SECRET}".encode()}
    assert refused(guard(), call(INSECURE, metadata=bearer)) == (Code.UNAUTHENTICATED, PLAIN)
    token = running.set(call(INSECURE))
    assert refused(guard(), call(NODE, metadata=bearer)) == (Code.UNAUTHENTICATED, PLAIN)
    running.reset(token)
    with pytest.raises(CallError, match="unencrypted"):
        guard().login(Peer("there", None, INSECURE), "ci", SECRET)


def test_a_token_is_looked_at_where_the_call_ends() -> None:
    bearer = {"authorization": b"Bearer spl_of-another-node"}
    passing = call(OWN, metadata=bearer)
    guard().check(passing, here=False)
    assert passing.metadata is bearer
    assert refused(guard(), passing, here=True)[0] is Code.UNAUTHENTICATED


def test_a_connection_that_was_opened_with_a_token_ends_with_it() -> None:
    by = guard()
    peer = by.login(Peer("there", 7, OTHER), "ci", SECRET)
    assert (peer.identity.name, peer.uid, peer.endpoint) == ("token:ci", 7, "there")
    assert SECRET not in str(peer)
    for name, secret in (("ci", "spl_x"), ("ci", ""), ("other", SECRET), ("", SECRET)):
        with pytest.raises(CallError, match=REFUSED):
            by.login(Peer("there"), name, secret)
    brought = Call(CONTRACT, PROTOCOL.messages["add"], {}, LATER, {}, peer)
    by.check(brought)
    assert not by.lets(peer, "com.acme.Inventory", "add")  # each is looked at
    assert by.bearer(Peer("there", 7, OTHER), f"Bearer {SECRET}").identity.name == "token:ci"
    by.replace(POLICY, Tokens())
    assert refused(by, brought) == (Code.UNAUTHENTICATED, REFUSED)


def test_only_what_is_allowed_runs_where_it_is_read() -> None:
    by = guard()
    assert by.lets(Peer("", None, OTHER), "com.acme.Inventory", "add")
    assert not by.lets(Peer("", None, OTHER), "com.acme.Inventory", "reserve")
    assert not by.lets(Peer("", None, REMOTE), "com.acme.Inventory", "add")


def test_other_rules_hold_from_the_next_call_on() -> None:
    by, told = guard(), []
    by.changed = lambda: told.append(1)
    by.check(call(OTHER))
    by.replace(parse(""), TOKENS)
    assert told == [1]
    assert refused(by, call(OTHER))[0] is Code.PERMISSION_DENIED


def test_the_node_itself_may_call_everything_but_for_others_only_what_they_may() -> None:
    nothing = Guard(parse(""))
    assert not nothing.watchful
    nothing.check(call(NODE))
    assert "ann may not" in refused(nothing, call(NODE, metadata={"spl-identity": b"ann own"}))[1]
    worker = Call(CONTRACT, PROTOCOL.messages["add"], {}, LATER, {"spl-identity": b"ann own"}, Peer("w", identity=NODE))
    assert "ann may not" in refused(nothing, worker)[1]
    claiming = call(OWN, metadata={"spl-identity": NODE.text})
    assert "uid:1 may not" in refused(nothing, claiming)[1]


def test_what_is_kept_is_bounded() -> None:
    by = guard()
    for number in range(KEPT + 10):
        by.verdict(Identity(f"x{number}"), "S", "m")
    assert len(by._verdicts) <= KEPT


def test_what_is_written_down_and_what_is_not(tmp_path: Path) -> None:
    log = Audit(tmp_path / "a")
    by = guard(log)
    by.check(call(OTHER))
    refused(by, call(OTHER, "reserve", {"spl-call-id": b"7f", "k": b"private"}))
    refused(by, call(OTHER, "wait", {"spl-call-id": b"\n\xff"}))
    refused(by, call(OTHER, metadata={"authorization": b"Bearer spl_private"}))
    log.close()
    said = (tmp_path / "a").read_text()
    assert "private" not in said
    lines = [json.loads(line) for line in said.splitlines()]
    for line in lines:
        del line["time"]
    peer = {"who": "uid:7", "how": "unix", "peer": "tcp://192.0.2.1:4000", "service": "com.acme.Inventory"}
    why = {"rule": "no rule of /etc/splnode/p.toml fits"}
    assert lines == [
        {"verdict": "denied", **peer, "message": "reserve", "call": "7f", **why},
        {"verdict": "denied", **peer, "message": "wait", **why},
        {"verdict": "unauthenticated", **peer, "message": "add"},
    ]


def test_what_a_handler_calls_comes_from_where_its_own_call_came(tmp_path: Path) -> None:
    log = Audit(tmp_path / "a")
    token = running.set(call(OTHER))
    try:
        refused(guard(log), call(NODE, "reserve", {IDENTITY_KEY: OTHER.text}))
    finally:
        running.reset(token)
    log.close()
    line = json.loads((tmp_path / "a").read_text())
    assert (line["who"], line["how"], line["by"], line["peer"]) == ("uid:7", "vouched", "node", "tcp://192.0.2.1:4000")


def test_all_calls_are_written_down_where_that_is_asked_for(tmp_path: Path) -> None:
    log = Audit(tmp_path / "a")
    by = guard(log, audit_all=True)
    assert by.watchful
    assert not by.lets(Peer("", None, OTHER), "com.acme.Inventory", "add")
    by.check(call(OTHER))
    log.close()
    assert json.loads((tmp_path / "a").read_text())["rule"] == "/etc/splnode/p.toml:3"
