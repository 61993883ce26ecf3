from splnode.errors import CallError, Code
from splnode.observe.load import Gauge
from splnode.rpc.tally import Tally


class Process:
    """A process whose clocks stand where the test puts them."""

    def __init__(self, processes: int = 1) -> None:
        self.now = self.used = 0.0
        self.running = 0
        self.tally = Tally()
        self.read = 0
        self.gauge = Gauge(
            self.tallies,
            lambda: self.running,
            lambda: 10,
            processes=processes,
            now=lambda: self.now,
            processor=lambda: self.used,
        )

    def tallies(self) -> list[Tally]:
        self.read += 1
        return [self.tally, Tally()]

    def passes(self, seconds: float, *, calls: int = 0, each: float = 0.0, used: float = 0.0, failed: int = 0) -> None:
        for number in range(calls):
            self.tally.begin()
            error = CallError(Code.INTERNAL, "x") if number < failed else None
            self.tally.end(each, error)
        self.now += seconds
        self.used += used

    def tells(self) -> tuple[float, ...]:
        return tuple(map(float, self.gauge.text().split(b",")))


def test_nothing_in_the_first_second() -> None:
    process = Process()
    process.passes(0.9, calls=10)
    assert process.gauge.text() == b""


def test_calls_failures_and_the_processor() -> None:
    process = Process()
    process.passes(2.0, calls=100, failed=10, used=0.5)
    assert process.tells() == (50.0, 5.0, 0.25)


def test_calls_that_wait_use_what_may_run() -> None:
    process = Process()
    process.passes(2.0, calls=20, each=0.5, used=0.1)
    assert process.tells() == (10.0, 0.0, 0.5)  # five at a time, of ten


def test_where_nothing_ends_what_runs_is_counted() -> None:
    process = Process()
    process.running = 8
    process.passes(1.0)
    assert process.tells() == (0.0, 0.0, 0.8)


def test_what_the_caller_did_wrong_is_no_failure() -> None:
    process = Process()
    process.passes(1.0, calls=10)
    for code in (Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.RESOURCE_EXHAUSTED):
        process.tally.end(0.0, CallError(code, "x"))
    assert process.tells()[1] == 1.0


def test_it_is_worked_out_once_a_second() -> None:
    process = Process()
    process.passes(1.0, calls=10)
    first = process.gauge.text()
    process.passes(0.9, calls=1000)
    read = process.read
    assert process.gauge.text() is first
    assert process.read == read
    process.passes(0.1)
    assert process.gauge.text() != first


def test_what_is_long_ago_is_forgotten() -> None:
    process = Process()
    process.passes(1.0, calls=1000)
    for _ in range(8):
        process.passes(1.0, calls=10)
        process.gauge.text()
    assert process.tells()[0] == 10.0


def test_one_of_several_processes_speaks_for_all() -> None:
    process = Process(processes=4)
    process.passes(1.0, calls=10, used=0.5)
    assert process.tells() == (40.0, 0.0, 0.5)
