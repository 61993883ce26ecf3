import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from splnode.access import audit
from splnode.access.audit import Audit

FACTS = {"who": "loopback", "how": "tcp", "peer": "tcp://127.0.0.1:4000", "service": "S", "message": "m", "rule": "p:1"}


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_a_line_says_who_did_what_and_why(tmp_path: Path) -> None:
    path = tmp_path / "node" / "audit.jsonl"
    log = Audit(path, clock=Clock())
    log.put("denied", FACTS)
    log.close()
    assert lines(path) == [{"time": "2023-11-14T22:13:20.000Z", "verdict": "denied", **FACTS}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    log.put("denied", FACTS)  # nobody writes it any more
    assert len(lines(path)) == 1


def test_nothing_to_say_makes_no_file(tmp_path: Path) -> None:
    log = Audit(tmp_path / "audit.jsonl")
    log.reopen()
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_the_same_denial_is_counted(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "audit.jsonl"
    log = Audit(path, clock=clock)
    for port in range(5):
        log.put("denied", {**FACTS, "peer": f"tcp://127.0.0.1:{port}"})
    log.put("denied", {**FACTS, "peer": "tcp://127.0.0.2:1"})
    clock.now += audit.AGAIN
    log.put("denied", FACTS)
    log.put("allowed", FACTS)
    log.put("allowed", FACTS)
    log.close()
    found = lines(path)
    assert [(each["verdict"], each["peer"][:16], each.get("again")) for each in found] == [
        ("denied", "tcp://127.0.0.1:", None),
        ("denied", "tcp://127.0.0.2:", None),
        ("denied", "tcp://127.0.0.1", 4),
        ("denied", "tcp://127.0.0.1:", None),
        ("allowed", "tcp://127.0.0.1:", None),
        ("allowed", "tcp://127.0.0.1:", None),
    ]


def test_the_addresses_of_one_network_are_one_peer(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "audit.jsonl"
    log = Audit(path, clock=clock)
    for host in range(1, 100):
        log.put("denied", {**FACTS, "peer": f"tcp://[2001:db8::{host:x}]:{host}"})
    for other in ("tcp://[2001:db8:0:1::1]:9", "tcp://[fe80::1%eth0]:9", "unix (uid 7)", "tls://10.0.0.1:9"):
        log.put("denied", {**FACTS, "peer": other})
    log.close()
    found = lines(path)
    assert len(found) == 1 + 4 + 1
    assert (found[-1]["peer"], found[-1]["again"]) == ("tcp://[2001:db8::/64]", 98)


def test_a_peer_without_a_port(tmp_path: Path) -> None:
    log = Audit(tmp_path / "audit.jsonl")
    for peer in ("unix (uid 7)", "unix (uid 8)", "unix (uid 7)"):
        log.put("denied", {**FACTS, "peer": peer})
    log.close()
    found = [(each["peer"], each.get("again")) for each in lines(log.path)]
    assert found == [("unix (uid 7)", None), ("unix (uid 8)", None), ("unix (uid 7)", 1)]


def test_different_denials_are_counted_in_bounds(tmp_path: Path) -> None:
    log = Audit(tmp_path / "audit.jsonl", clock=Clock())
    for number in range(audit.SAME * 3):
        log.put("denied", {**FACTS, "message": f"m{number}"})
    assert len(log._seen) <= audit.SAME
    log.close()


def test_no_call_waits_and_what_is_lost_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "KEPT", 10)
    path, go, real = tmp_path / "audit.jsonl", threading.Event(), os.write

    def slow(descriptor: int, data: bytes) -> int:
        go.wait(10)
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", slow)
    log = Audit(path, clock=Clock())
    for _ in range(100):
        log.put("allowed", FACTS)
    go.set()
    log.close()
    found = lines(path)
    assert found[-1]["verdict"] == "lost"
    assert sum(each.get("lines", 1) for each in found) == 100
    assert log.lost == sum(each.get("lines", 0) for each in found)
    assert len(found) < 30


def test_a_new_file_is_begun_where_the_old_one_was_renamed(tmp_path: Path) -> None:
    path, other = tmp_path / "audit.jsonl", tmp_path / "other.jsonl"
    log = Audit(path)
    log.put("allowed", FACTS)
    while not path.exists() or not path.read_bytes():
        pass
    path.rename(tmp_path / "old")
    log.reopen()
    log.put("allowed", {**FACTS, "message": "n"})
    log.reopen(other)
    log.close()
    assert len(lines(tmp_path / "old")) == 1
    assert [each["message"] for file in (path, other) if file.exists() for each in lines(file)] == ["n"]


@pytest.mark.parametrize("rotate", [
    lambda path: path.rename(path.with_suffix(".1")), lambda path: path.unlink(), lambda path: os.truncate(path, 0),
], ids=["renamed", "removed", "cut short"])  # fmt: skip
def test_who_rotates_it_need_tell_nobody(tmp_path: Path, rotate: Callable[[Path], Any]) -> None:
    path = tmp_path / "audit.jsonl"
    log = Audit(path)
    log.put("allowed", {**FACTS, "message": "before"})
    while not path.exists() or not path.read_bytes().endswith(b"\n"):
        pass
    rotate(path)
    log.put("allowed", {**FACTS, "message": "after"})
    log.close()
    assert [each["message"] for each in lines(path)] == ["after"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_line_is_json_whatever_it_says(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = Audit(path)
    texts = ["a\nb", "\x00\x1b[2J\x7f", "\u2028 \u202e", "x" * 65_536, os.fsdecode(b"caf\xe9/policy.toml:3"), '"}{"']
    for text in texts:
        log.put("allowed", {**FACTS, "who": text, "rule": text})
    log.close()
    assert [each["who"] for each in lines(path)] == texts
    assert log.lost == 0


def test_what_cannot_be_written_is_told_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with structlog.testing.capture_logs() as said:
        log = Audit(tmp_path / "file" / "audit.jsonl")
        log.put("allowed", FACTS)
        log.close()
    assert log.lost == 1
    assert [each["event"] for each in said] == ["audit lines are lost: the file cannot be written"]
