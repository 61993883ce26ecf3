"""What the README says of the code is held against it."""

import ast
import asyncio
import inspect
import json
import re
import socket
import textwrap
from pathlib import Path

import pytest

from splnode.access.policy import parse
from splnode.config import Config, NodeConfig
from splnode.errors import Code
from splnode.identity import Identity
from splnode.limits import DEFAULT_LIMITS
from splnode.node import Node

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
UNITS = {"KiB": 1024, "MiB": 1024**2, "s": 1, "": 1}


def limits() -> dict[str, float]:
    """The table of limits: name -> default."""
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) ?(\w*) \|", README, re.MULTILINE)
    return {name: int(number.replace(",", "")) * UNITS[unit] for name, number, unit in rows}


def test_the_limits_are_those_of_the_code() -> None:
    assert limits()
    code = vars(DEFAULT_LIMITS)
    assert {name: code[name] for name in limits()} == limits()


def test_the_defaults_in_the_text_are_those_of_the_code() -> None:
    config = Config()
    assert f"Calls have {config.calls.timeout:g} s" in README
    assert f"connecting has {config.channels.connect_timeout:g} s" in README
    assert f"serves on for {config.node.drain_seconds:g} s" in README
    assert f"waits up to {config.node.stop_seconds:g} s" in " ".join(README.split())
    assert f"runs {config.admission.running}\nhandlers at a time and queues {config.admission.queued} more" in README


def test_the_exit_codes_are_those_of_the_calls() -> None:
    named = re.findall(r"(\d+) (?:is )?([A-Z_]{5,})", README)
    assert {(int(number) - 64, name) for number, name in named} == {(Code[name], name) for _, name in named}
    assert len(named) >= 4


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_a_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_commands_are_there() -> None:
    for script in set(re.findall(r"\b(scripts/\w+|\.ci/run)\b", README)):
        assert (ROOT / script).is_file(), script


INVENTORY = {
    "protocol": "Inventory",
    "types": [
        {"type": "error", "name": "OutOfStock", "fields": [{"name": "sku", "type": "string"}]},
        {"type": "record", "name": "Reservation", "fields": [
            {"name": "id", "type": "string"}, {"name": "count", "type": "int"}]},
    ],
    "messages": {"reserve": {
        "request": [{"name": "sku", "type": "string"}, {"name": "count", "type": "int"}],
        "response": "Reservation", "errors": ["OutOfStock"],
    }},
}  # fmt: skip


def programs() -> list[str]:
    """The Python of the section "In a program"."""
    section = README.partition("## In a program")[2].partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


async def run(source: str, **names: object) -> dict[str, object]:
    """Runs it, await and all; the names that it has made."""
    code = compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    made: dict[str, object] = {"__name__": "readme", **names}
    running = eval(code, made)
    if inspect.isawaitable(running):
        await running
    return made


def test_the_policy_says_what_is_said_of_it() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    policy = parse(text, "policy.toml")
    deny = text.split("\n").index('who = ["token:ci"]')
    write = policy.decide(Identity("token:ci", ("token",)), "SPLDataService", "write")
    assert (write.allowed, write.source, write.line) == (False, "policy.toml", deny)
    assert policy.decide(Identity("token:ci", ("token",)), "SPLDataService", "read").allowed
    assert policy.decide(Identity("uid:1001", ("unix",)), "SPLContainerService", "startContainer").allowed
    assert not policy.decide(Identity("uid:1002", ("unix",)), "SPLContainerService", "startContainer").allowed


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def test_the_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inventory.avpr").write_text(json.dumps(INVENTORY))
    server, client = re.fullmatch(r"(.*:\n)    \.\.\.\n\n(async with .*)", programs()[0], re.DOTALL).groups()  # type: ignore[union-attr]  # else the README is another
    more = """
    reservations.append(await inventory.reserve(sku="A1", count=2))
    try:
        await inventory.reserve(sku="A1", count=11)
    except splnode.DeclaredError as error:
        reservations.append(error.sku)
    """
    whole = server + textwrap.indent(client + textwrap.indent(textwrap.dedent(more), "    "), "    ")
    reservations: list[object] = []
    async with asyncio.timeout(20):
        await run(whole.replace("9000", str(free_port())), reservations=reservations)
    assert reservations == [{"id": "r-1", "count": 2}, "A1"]


async def test_the_client_without_an_event_loop_runs(tmp_path: Path) -> None:
    port = free_port()
    settings = NodeConfig(directory=str(tmp_path), listen=(f"tcp://127.0.0.1:{port}",), drain_seconds=0)
    async with Node(Config(node=settings)) as node:
        data = node.client("SPLDataService")
        await data.call("write", {"topic": "users", "primaryKey": "ada", "data": "Ada, 1815"})
        printed: list[dict[str, list[dict[str, object]]]] = []
        source = programs()[1].replace("9090", str(port))
        await asyncio.wait_for(asyncio.to_thread(lambda: asyncio.run(run(source, print=printed.append))), 20)
    (found,) = printed
    (record,) = found["records"]
    assert (record["primaryKey"], record["data"]) == ("ada", "Ada, 1815")
