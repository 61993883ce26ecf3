import contextlib
import json
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.access.tokens import PREFIX, Token, TokenFile, Tokens, _parse, digest
from splnode.errors import ConfigError
from splnode.identity import Identity

NOW = 1_000_000.0


def test_a_token_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "node" / "tokens.json")
    assert file.read() == []
    text = file.create("ci", ["Shop.buy"], ["bots"], NOW, NOW + 60)
    assert text.startswith(PREFIX)
    assert len(text) > 40
    assert text not in file.path.read_text()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert sorted(each.name for each in file.path.parent.iterdir()) == ["tokens.json", "tokens.lock"]
    tokens = Tokens(file.read())
    found = tokens.find(text, NOW)
    assert found == Token("ci", digest(text), ("Shop.buy",), ("bots",), NOW, NOW + 60)
    assert found.identity == Identity("token:ci", ("token", "bots"), "token")
    assert tokens.live(digest(text), NOW) is found
    for other in (text[:-1], text + "A", text.removeprefix(PREFIX), "", PREFIX, digest(text), PREFIX * 1000):
        assert tokens.find(other, NOW) is None


def test_a_token_ends(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    short, long = file.create("a", ["*"], [], NOW, NOW + 60), file.create("b", ["*"], [], NOW, None)
    tokens = Tokens(file.read())
    assert len(tokens) == 2
    assert tokens.find(short, NOW + 59.9) is not None
    assert tokens.find(short, NOW + 60) is None
    assert tokens.find(long, NOW * 10) is not None
    file.revoke("b")
    assert Tokens(file.read()).find(long, NOW) is None
    with pytest.raises(ConfigError, match=r"there is no token 'b' in .*; there are a"):
        file.revoke("b")


def test_a_scope_holds_who_came_by_a_token_and_nobody_else() -> None:
    tokens = Tokens([Token("ci", "x", ("Shop.buy", "Data"))])
    ci = tokens._by_name["ci"].identity
    assert tokens.has_scope(ci, "Shop", "buy")
    assert tokens.has_scope(ci, "Data", "read")
    assert not tokens.has_scope(ci, "Shop", "sell")
    assert not tokens.has_scope(Identity("token:gone", ("token",)), "Shop", "buy")
    assert tokens.has_scope(Identity("uid:1"), "Shop", "sell")


@pytest.mark.parametrize(
    ("name", "allow", "groups", "said"),
    [
        ("", ["*"], [], "names no token"),
        ("a b", ["*"], [], "names no token"),
        ("a/b", ["*"], [], "names no token"),
        ("a", [], [], "say what it may call"),
        ("a", ["S.a,S.b"], [], "'S.a,S.b' names no service and no message: --allow once for each"),
        ("a", ["*"], ["own"], "'own' is no group that a token can have"),
        ("a", ["*"], ["token"], "no group"),
        ("a", ["*"], ["a b"], "no group"),
        ("there", ["*"], [], "there is a token there already"),
    ],
)
def test_what_no_token_can_be(tmp_path: Path, name: str, allow: list[str], groups: list[str], said: str) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    file.create("there", ["*"], [], NOW, None)
    with pytest.raises(ConfigError, match=said):
        file.create(name, allow, groups, NOW, None)
    assert [token.name for token in file.read()] == ["there"]


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"tokens": 1}', '{"tokens": [{}]}', "[" * 100_000,
        '{"tokens": [{"name": "a b", "digest": "x", "allow": ["*"]}]}',
        '{"tokens": [{"name": "a", "digest": "x", "allow": ["*"], "groups": ["own"]}]}',
        '{"tokens": [{"name": "a", "digest": "x", "allow": ["*"], "more": 1}]}',
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="tokens"):
        TokenFile(path).read()


@given(
    st.binary()
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(
        lambda value: json.dumps({"tokens": [{"name": value, "digest": value, "allow": value}]}).encode()
    )
)
def test_any_bytes_are_tokens_or_a_config_error(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        _parse(data, "t")


def test_who_may_write_it_could_call_everything(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps({"tokens": []}))
    path.chmod(0o620)
    with pytest.raises(ConfigError, match=r"others may write it.*chmod 600"):
        TokenFile(path).read()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        TokenFile(tmp_path).read()
    with pytest.raises(ConfigError, match="cannot be written"):
        TokenFile(path / "x").create("a", ["*"], [], NOW, None)


def test_writers_take_turns(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")

    def make(number: int) -> None:
        file.create(f"t{number}", ["*"], [], NOW, None)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {token.name for token in file.read()} == {f"t{number}" for number in range(8)}
