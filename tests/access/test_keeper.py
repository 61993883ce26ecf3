import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from splnode.access import keeper
from splnode.access.keeper import Keeper, read_policy
from splnode.access.tokens import TokenFile
from splnode.config import Config, parse
from splnode.errors import CallError, ConfigError
from splnode.identity import Identity
from splnode.rpc.call import Peer

ANN = Identity("ann")
ALLOWED, DENIED = '[[rule]]\nwho = ["ann"]\nallow = ["S"]\n', '[[rule]]\nwho = ["ann"]\ndeny = ["S"]\n'


def config(folder: Path, more: str = "") -> Config:
    return parse(f'[node]\ndirectory = "{folder}"\n[access]\npolicy = "{folder}/p.toml"\n{more}')


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Keeper]:
    (tmp_path / "p.toml").write_text(ALLOWED)
    made = Keeper(config(tmp_path))
    yield made
    made.close()


def may(kept: Keeper) -> bool:
    return kept.guard.verdict(ANN, "S", "m").allowed


async def test_a_changed_policy_holds_when_it_is_read_again(kept: Keeper, tmp_path: Path) -> None:
    assert may(kept)
    (tmp_path / "p.toml").write_text(DENIED)
    assert may(kept)
    kept.reload(config(tmp_path))
    assert not may(kept)
    (tmp_path / "q.toml").write_text(ALLOWED)
    kept.reload(parse(f'[node]\ndirectory = "{tmp_path}"\n[access]\npolicy = "{tmp_path}/q.toml"\naudit_calls = "all"'))
    assert may(kept)
    assert kept.guard.watchful


async def test_a_token_is_good_in_the_moment_when_it_was_made(kept: Keeper, tmp_path: Path) -> None:
    peer, tokens = Peer("tcp://127.0.0.1:4"), TokenFile(tmp_path / "tokens.json")
    with pytest.raises(CallError):
        kept.guard.login(peer, "ci", "spl_guessed")
    text = tokens.create("ci", ["S"], [], 0.0, None)
    assert kept.guard.login(peer, "ci", text).identity.name == "token:ci"
    text = tokens.create("other", ["S"], [], 0.0, None)
    with structlog.testing.capture_logs() as said:
        assert kept.guard.bearer(peer, f"Bearer {text}").identity.name == "token:other"
        for guess in ("spl_guessed", "guessed"):  # who guesses has nothing read
            with pytest.raises(CallError):
                kept.guard.bearer(peer, f"Bearer {guess}")
    assert len(said) == 1


@pytest.mark.parametrize("broken", ["[[rule]]\nx = 1", "[["])
async def test_a_policy_that_cannot_be_used_changes_nothing(kept: Keeper, tmp_path: Path, broken: str) -> None:
    (tmp_path / "p.toml").write_text(broken)
    with structlog.testing.capture_logs() as said:
        kept.reload(config(tmp_path))
    assert [(each["log_level"], each["event"]) for each in said] == [("error", "who may call what stays as it was")]
    assert f"{tmp_path}/p.toml" in said[0]["reason"]
    assert may(kept)
    with pytest.raises(ConfigError, match=r"p\.toml"):
        Keeper(config(tmp_path))


async def test_files_that_change_are_read_by_themselves(
    kept: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOK", 0.001)
    changed = asyncio.Event()
    kept.guard.changed = changed.set
    kept.watch()
    (tmp_path / "p.toml").write_text(DENIED + "# longer\n")
    await asyncio.wait_for(changed.wait(), 10)
    assert not may(kept)
    changed.clear()
    text = TokenFile(tmp_path / "tokens.json").create("ci", ["S"], [], 0.0, None)
    await asyncio.wait_for(changed.wait(), 10)
    assert kept.guard._tokens.find(text, 1.0) is not None
    changed.clear()
    TokenFile(tmp_path / "tokens.json").revoke("ci")
    await asyncio.wait_for(changed.wait(), 10)
    assert kept.guard._tokens.find(text, 1.0) is None


def test_a_policy_that_everybody_may_write_is_none(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(ALLOWED)
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=r"everybody may write it.*chmod o-w"):
        read_policy(path)
    path.chmod(0o664)
    assert len(read_policy(path).rules) == 1


def test_without_a_policy_of_ones_own_the_shipped_one_holds(tmp_path: Path) -> None:
    made = Keeper(parse(f'[node]\ndirectory = "{tmp_path}"\n[access]\naudit_calls = "all"'), audit_all=False)
    assert made.guard.verdict(ANN, "splnode.Health", "check").allowed
    assert not made.guard.watchful
    made.close()
    assert list(tmp_path.iterdir()) == []


def test_a_policy_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_policy(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8: byte 0"):
        read_policy(tmp_path / "latin")
