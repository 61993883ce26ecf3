from typing import Any

import pytest
import structlog

from splnode.errors import Code
from splnode.identity import LOOPBACK, Identity
from splnode.limits import Limits
from splnode.net import rates
from splnode.net.rates import Bucket, MeteredIntake, Rates
from splnode.net.reached import Reached
from splnode.rpc.call import Peer


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def made(**limits: float) -> tuple[Rates, Clock]:
    clock = Clock()
    return Rates(Limits(**limits), Reached(clock), clock), clock


def test_a_bucket_fills_and_owes_no_more_than_a_second() -> None:
    bucket = Bucket(10.0, 0.0)
    bucket.spend(10, 0.0)
    assert bucket.wait(0.0) == pytest.approx(0.1)
    assert bucket.wait(0.1) == 0
    bucket.spend(1000, 0.1)
    assert bucket.left(0.1) == -10
    assert bucket.wait(0.1) == pytest.approx(1.1)
    assert bucket.left(100.0) == 10
    slow = Bucket(0.5, 0.0)
    slow.spend(1, 0.0)
    assert slow.wait(0.0) == 2.0
    free = Bucket(0.0, 0.0)
    free.spend(10**9, 0.0)
    assert (free.left(0.0), free.wait(0.0)) == (float("inf"), 0.0)


def test_calls_are_refused_until_there_are_tokens_again() -> None:
    metered, clock = made(calls_per_second=2)
    meter = metered.named("token:a")
    assert meter is not None
    with structlog.testing.capture_logs() as logs:
        assert [meter.refusal() for _ in range(2)] == [None, None]
        error = meter.refusal()
    assert error is not None
    assert (error.code, error.started, error.retry_after) == (Code.RESOURCE_EXHAUSTED, False, pytest.approx(0.5))
    assert "calls_per_second = 2" in error.message
    assert [(line["limit"], line["identity"]) for line in logs] == [("calls_per_second", "token:a")]
    other = metered.named("token:b")
    assert other is not None
    assert other.refusal() is None
    clock.now += 0.5
    assert meter.refusal() is None
    assert metered.reached.counts == {"calls_per_second": 1}


def test_bytes_refuse_calls_and_then_hold_up_the_reader() -> None:
    metered, clock = made(bytes_per_second=1000)
    meter = metered.named("a")
    assert meter is not None
    assert meter.came(1000) == 0
    error = meter.refusal()
    assert error is not None
    assert "bytes_per_second" in error.message
    assert meter.calls == 0
    assert meter.came(900) == 0
    assert meter.came(200) == rates.BURST
    clock.now += 1.1
    assert meter.refusal() is None
    assert meter.calls > 10**6


def test_who_has_no_name_is_known_by_the_address() -> None:
    metered, _ = made(calls_per_second=1)
    anyone, loopback = Peer("x"), Peer("x", None, Identity(LOOPBACK, (LOOPBACK,), "tcp"))
    named = Peer("x", None, Identity("uid:5", (), "unix"))
    meters = [metered.of(peer, address) for peer in (anyone, loopback, named) for address in ("10.0.0.1", "10.0.0.2")]
    assert [meter and meter.name for meter in meters] == ["10.0.0.1", "10.0.0.2"] * 2 + ["uid:5"] * 2
    assert len(metered) == 3
    off, _ = made()
    assert (off.on, off.of(named, ""), off.named("x")) == (False, None, None)


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "KEPT", 4)
    metered, clock = made(calls_per_second=1, bytes_per_second=1)
    for name in "abcd":
        meter = metered.named(name)
        assert meter is not None
        if name != "a":
            meter.refusal()
    metered.named("e")  # a's was as good as new
    assert list(metered._meters) == ["b", "c", "d", "e"]
    metered._meters["e"].refusal()
    metered.named("f")
    assert list(metered._meters) == ["d", "e", "f"]
    clock.now += 10
    metered.named("g")
    metered.named("h")
    assert list(metered._meters) == ["h"] or len(metered) <= 4


class Inner:
    stopped = False
    over = False
    served = 0

    def run(self, data: bytes, start: int, most: int, seconds: float, size: int) -> int:
        self.served = min(most, 5)
        return start + self.served

    def begin_large(self, data: bytes, start: int, size: int) -> Any:
        return "room"

    def run_large(self, parcel: Any) -> Any:
        return [b"answer"]

    def run_apart(self, *rest: Any) -> bool:
        return True

    def take(self) -> bytes:
        return b"answers"

    def begin(self, *rest: Any) -> None:
        self.begun = rest

    def close(self) -> None:
        self.stopped = True


def test_an_intake_runs_what_was_paid_for() -> None:
    metered, clock = made(calls_per_second=8)
    meter = metered.named("a")
    inner: Any = Inner()
    assert meter is not None
    intake = MeteredIntake(inner, meter)
    assert (intake.run(b"", 0, 100, 1.0), intake.served) == (5, 5)
    assert (intake.run(b"", 0, 100, 1.0), intake.served) == (3, 3)
    assert (intake.run(b"", 7, 100, 1.0), intake.served) == (7, 0)
    room: Any = None
    assert (intake.begin_large(b"", 0, 0), intake.run_large(room), intake.run_apart(1, b"", 0, b"")) == (
        None, False, False,
    )  # fmt: skip
    clock.now += 0.25
    assert intake.begin_large(b"", 0, 0) is not None
    assert intake.run_large(room) == [b"answer"]
    assert intake.run_apart(1, b"", 0, b"") is True
    assert meter.calls == 0
    intake.stopped = True
    assert inner.stopped is intake.stopped is True
    intake.begin(b"", {})
    assert (inner.begun, intake.take()) == ((b"", {}), b"answers")
    intake.close()
