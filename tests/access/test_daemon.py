"""Policy, tokens and audit of a node that is a process of its own, with one process or several."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import splnode
from splnode.access.tokens import TokenFile
from splnode.errors import CallError, Code, DeclaredError
from tests.daemon import Daemon

CONFIG = 'drain_seconds = 0.0\n[access]\npolicy = "policy.toml"\naudit = "audit.jsonl"\n'
READS = '[[rule]]\nwho = ["loopback", "@token"]\nallow = ["SPLDataService.read", "splnode.Health"]\n'
WRITES = '[[rule]]\nwho = ["loopback"]\nallow = ["SPLDataService"]\n'
RECORD = {"topic": "t", "primaryKey": "k", "data": "a secret value"}


@pytest.fixture(params=["1", "2"])
async def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Daemon]:
    (tmp_path / "policy.toml").write_text(READS)
    async with Daemon(tmp_path, "--workers", request.param, config=CONFIG) as made:
        yield made


def rule(daemon: Daemon, policy: str) -> None:
    """Another policy, at one blow: the node looks by itself, and would find a file that is empty still."""
    new = daemon.directory / "new.toml"
    new.write_text(policy)
    new.rename(daemon.directory / "policy.toml")


async def code_of(call: Any) -> Code | None:
    try:
        await call
    except CallError as error:
        return error.code
    except DeclaredError:  # a handler ran
        return None
    return None


async def until(what: Any) -> None:
    """Returns once `what` gives something true."""
    async with asyncio.timeout(15):
        while not await what():
            await asyncio.sleep(0.02)  # clock: other processes read files, and nothing tells when


async def test_a_policy_is_read_again_on_sighup(daemon: Daemon) -> None:
    async with splnode.connect(daemon.tcp, "SPLDataService") as data:
        assert await code_of(data.write(**RECORD)) is Code.PERMISSION_DENIED
        assert await code_of(data.read(topic="t")) is None
        rule(daemon, WRITES)
        daemon.send(signal.SIGHUP)

        async def may() -> bool:
            return await code_of(data.write(**RECORD)) is None

        await until(may)
        rule(daemon, "[[rule")  # and what cannot be used changes nothing
        daemon.send(signal.SIGHUP)

        async def told() -> bool:
            return "who may call what stays as it was" in daemon.log

        await until(told)
        assert await code_of(data.write(**RECORD)) is None
        rule(daemon, READS)  # no signal: it looks by itself

        async def may_not() -> bool:
            return await code_of(data.write(**RECORD)) is Code.PERMISSION_DENIED

        await until(may_not)


async def test_a_token_is_good_at_once_and_no_longer_than_it_is_there(daemon: Daemon) -> None:
    tokens = TokenFile(daemon.directory / "state" / "tokens.json")
    text = tokens.create("ci", ["SPLDataService"], [], 0.0, None)
    async with splnode.connect(daemon.tcp, "SPLDataService", token=text) as data:

        async def good() -> bool:
            return await code_of(data.read(topic="t")) is None

        async def bad() -> bool:
            return await code_of(data.read(topic="t")) is Code.UNAUTHENTICATED

        assert await good()
        assert await code_of(data.write(**RECORD)) is Code.PERMISSION_DENIED
        tokens.revoke("ci")
        await until(bad)
    assert text not in daemon.log


async def test_the_audit_log_is_begun_anew_where_it_was_renamed(daemon: Daemon) -> None:
    audit, old = daemon.directory / "audit.jsonl", daemon.directory / "old.jsonl"

    async def written() -> bool:
        return await asyncio.to_thread(audit.exists) and bool(await asyncio.to_thread(audit.read_bytes))

    async with splnode.connect(daemon.tcp, "SPLDataService") as data:
        assert await code_of(data.write(**RECORD)) is Code.PERMISSION_DENIED
        await until(written)
        audit.rename(old)
        daemon.send(signal.SIGHUP)

        async def denied_again() -> bool:
            await code_of(data.listTopics())
            return await written()

        await until(denied_again)
    for file in (old, audit):
        text = await asyncio.to_thread(file.read_text)
        assert "a secret value" not in text
        assert {json.loads(line)["verdict"] for line in text.splitlines()} == {"denied"}
        assert file.stat().st_mode & 0o777 == 0o600


async def test_its_own_user_may_everything_but_for_a_policy_that_says_no(daemon: Daemon) -> None:
    async with splnode.connect(daemon.unix, "SPLDataService") as data:
        assert await code_of(data.write(**RECORD)) is Code.PERMISSION_DENIED
        rule(daemon, 'then = "default"\n' + READS)
        daemon.send(signal.SIGHUP)

        async def may() -> bool:
            return await code_of(data.write(**RECORD)) is None

        await until(may)


async def test_it_leaves_no_core_dump(daemon: Daemon) -> None:
    limits = await asyncio.to_thread(Path(f"/proc/{daemon.pid}/limits").read_text)
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


@pytest.mark.parametrize(
    ("policy", "said"),
    [("[[rule]]\nwho = 1", "policy.toml:1: a rule has who"), (None, "policy.toml' cannot be read")],
)
async def test_it_does_not_start_with_a_policy_that_cannot_be_used(
    tmp_path: Path, policy: str | None, said: str
) -> None:
    if policy is not None:
        (tmp_path / "policy.toml").write_text(policy)
    with pytest.raises(AssertionError) as caught:
        await Daemon(tmp_path, config=CONFIG).start()
    assert said in str(caught.value)
