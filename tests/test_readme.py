"""What the README says of the code is held against it."""

import re
from pathlib import Path

import pytest

from splnode.config import Config
from splnode.errors import Code
from splnode.limits import DEFAULT_LIMITS

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
