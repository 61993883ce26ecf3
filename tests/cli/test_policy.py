import os
from pathlib import Path

import pytest

from splnode.access.policy import default_text
from splnode.access.tokens import TokenFile
from splnode.cli.policy import identity_of
from tests.cli.conftest import Shell

RULES = """\
[groups]
operators = ["uid:1001"]
[[rule]]
who = ["@operators", "@token"]
allow = ["Shop"]
[[rule]]
who = ["anyone"]
deny = ["Shop"]
"""


@pytest.fixture
def rules(home: Path) -> str:
    (home / "p.toml").write_text(RULES)
    (home / "node.toml").write_text('[node]\ndirectory = "state"\n[access]\npolicy = "p.toml"\n')
    return str(home / "p.toml")


def test_which_rule_decides(shell: Shell, rules: str) -> None:
    done = shell("policy", "test", "uid:1001", "Shop.buy", "--policy", rules)
    assert done.code == 0
    assert done.results == [
        {
            "allowed": True, "identity": "uid:1001", "groups": ["anyone", "unix"], "message": "Shop.buy",
            "file": rules, "line": 3, "rule": "allow Shop to @operators, @token",
        }
    ]  # fmt: skip
    done = shell("policy", "test", "anyone", "Shop.buy", "--policy", rules)
    assert (done.code, done.results[0]["line"]) == (1, 6)
    done = shell("policy", "test", "loopback", "Shop.buy", "--policy", rules)
    assert (done.code, done.results[0]["line"], done.results[0]["allowed"]) == (1, None, False)


@pytest.mark.parametrize(("message", "said"), [
    ("Health.check", "say splnode.Health.check"),
    ("SPLDataService.raed", "SPLDataService has no message 'raed'; it has write, read"),
    ("SPLDataService.read", ""),
    ("com.acme.Shop.raed", ""),
])  # fmt: skip
def test_what_can_hardly_be_meant_is_said(shell: Shell, rules: str, message: str, said: str) -> None:
    done = shell("policy", "test", "loopback", message)
    assert said in done.err if said else not done.err
    assert done.results[0]["message"] == message


def test_by_the_settings_of_a_node(shell: Shell, rules: str, home: Path) -> None:
    node = str(home / "node.toml")
    TokenFile(home / "state" / "tokens.json").create("ci", ["Shop.buy"], [], 0.0, None)
    assert shell("policy", "test", "token:ci", "Shop.buy", "--config", node).code == 0
    done = shell("policy", "test", "token:ci", "Shop.sell", "--config", node)
    assert (done.code, done.results[0]["rule"]) == (1, "its token was not made for that")
    assert shell("policy", "test", "token:gone", "Shop.buy", "--config", node).code == 1


def test_without_a_policy_of_ones_own(shell: Shell, home: Path) -> None:
    done = shell("policy", "test", "spiffe://home/node/a", "SPLDataService.read")
    assert (done.code, done.results[0]["file"]) == (0, "default policy")
    assert shell("policy", "test", "anyone", "SPLDataService.read").code == 1
    assert shell("policy", "test", "anyone", "SPLDataService.read", "--group", "mesh").code == 0
    assert shell("policy", "test", "insecure", "SPLDataService.read").code == 0
    assert shell("policy", "test", f"uid:{os.getuid()}", "SPLContainerService.startContainer").code == 0
    done = shell("policy", "show")
    assert [line[4:] for line in done.out.splitlines()] == [line.rstrip() for line in default_text().splitlines()]
    assert done.out.startswith(" 1  # Who may call what")


def test_all_that_holds_is_shown(shell: Shell, rules: str, home: Path) -> None:
    assert shell("policy", "show", "--policy", rules).out.splitlines() == [
        f"{number}  {line}" for number, line in enumerate(RULES.splitlines(), 1)
    ]
    (home / "q.toml").write_text('then = "default"\n' + RULES)
    shown = shell("policy", "show", "--policy", str(home / "q.toml")).out
    assert shown.startswith('1  then = "default"\n2  [groups]\n')
    assert "\n# then the default policy:\n\n 1  # Who may call what" in shown


def test_a_line_for_a_person(shell: Shell, rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splnode.cli.output.on_terminal", lambda *_: True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert shell("policy", "test", "anyone", "Shop.buy", "--policy", rules).out == (
        f"denied: {rules}:6 deny Shop to anyone\n"
    )
    assert shell("policy", "test", "x", "Shop.buy", "--policy", rules).out == f"denied: no rule of {rules} fits\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["test"], "say who calls what"),
        (["test", "x"], "say who calls what"),
        (["test", "x", "Shop"], "SERVICE.MESSAGE"),
        (["test", "a b", "S.m"], "without blanks"),
        (["show", "x"], "takes no identity"),
        (["show", "--policy", "/none"], "cannot be read"),
        (["test", "x", "S.m", "--config", "/none"], "cannot be read"),
    ],
)
def test_what_cannot_be_asked(shell: Shell, home: Path, words: list[str], said: str) -> None:
    done = shell("policy", *words)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("uid:0", "own"), (f"uid:{os.getuid() + 1}", "unix"), ("spiffe://m/node/a", "mesh"), ("token:t", "token"),
        ("loopback", "loopback"), ("insecure", "insecure"), ("node", "own"), ("anyone", "anyone"),
    ],
)  # fmt: skip
def test_the_groups_that_come_by_a_name(name: str, group: str) -> None:
    assert identity_of(name, []).groups == {group, "anyone"}
