"""SECURITY.md: what it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text("utf-8")
LINKS = re.findall(r"\[([^]]+)\]\(([^)]+)\)", TEXT)


def test_each_link_leads_to_what_it_says() -> None:
    assert len(LINKS) > 30
    assert all(name == target for name, target in LINKS)
    assert not [target for _, target in LINKS if not (ROOT / target).exists()]


def test_each_promise_names_its_tests() -> None:
    promised = TEXT.partition("## What is promised")[2].partition("## What is not promised")[0]
    rows = [line for line in promised.splitlines() if line.startswith("| ") and not line.startswith("| promise |")]
    assert len(rows) > 20
    assert not [row for row in rows if "](tests/" not in row]


def test_each_script_is_there() -> None:
    for name in set(re.findall(r"`scripts/(\w+)", TEXT)):
        assert (ROOT / "scripts" / name).exists()
