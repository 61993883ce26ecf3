"""The arithmetic of the loops, and that each loop counts what was answered. Nothing here asserts a duration."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from benchmarks import peer
from benchmarks.measure import AsyncCall, Order, SyncCall, concurrent, percentile, pumped, sequential

BRIEF = Order(seconds=0.01)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_a_percentile_is_a_value_of_the_list(share: float, expected: int) -> None:
    assert percentile(list(range(1, 101)), share) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7], 0.99) == 7


class Stack:
    """Answers at once and counts."""

    def __init__(self) -> None:
        self.made = 0
        self.checked = 0
        self.opened = 0

    def check(self, answer: int) -> None:
        assert answer == self.made
        self.checked += 1

    @asynccontextmanager
    async def awaited(self, endpoint: str, value: bytes) -> AsyncIterator[AsyncCall]:
        self.opened += 1

        async def call() -> int:
            self.made += 1
            return self.made

        yield call, self.check

    @contextmanager
    def blocking(self, endpoint: str, value: bytes) -> Iterator[SyncCall]:
        def call() -> int:
            self.made += 1
            return self.made

        yield call, self.check

    @asynccontextmanager
    async def by_callbacks(self, endpoint: str, value: bytes) -> AsyncIterator["Stack"]:
        yield self

    def start(self, in_flight: int, answered: Callable[[int], int]) -> "asyncio.Future[None]":
        idle = asyncio.get_running_loop().create_future()
        while in_flight:
            self.made += in_flight
            in_flight = answered(in_flight)
        idle.set_result(None)
        return idle


async def test_calls_that_never_suspend_end_with_the_window() -> None:
    stack = Stack()
    got = await concurrent(stack.awaited)("", b"", Order(connections=2, in_flight=3, seconds=0.01))
    assert stack.opened == 2
    assert got.made + 2 == stack.made == stack.checked  # the first call of each connection is not counted
    assert 0 < got.calls <= got.made
    assert got.p50 is None


async def test_a_clocked_round_has_percentiles() -> None:
    got = await concurrent(Stack().awaited)("", b"", Order(clocked=True, seconds=0.01))
    assert got.p50 is not None and got.p99 is not None
    assert 0 < got.p50 <= got.p99


async def test_a_blocking_stack_is_always_clocked() -> None:
    stack = Stack()
    got = await sequential(stack.blocking)("", b"", BRIEF)
    assert got.made + 1 == stack.made == stack.checked
    assert got.p50 is not None


async def test_an_answer_of_another_length_ends_the_round() -> None:
    @asynccontextmanager
    async def short(endpoint: str, value: bytes) -> AsyncIterator[AsyncCall]:
        async def call() -> bytes:
            return b"12"

        yield call, peer.sized(value)

    with pytest.raises(ValueError, match=r"b'12' has not the 3 bytes"):
        await concurrent(short)("", b"123", BRIEF)


async def test_callbacks_count_every_answer() -> None:
    stack = Stack()
    got = await pumped(stack.by_callbacks)("", b"", Order(in_flight=5, seconds=0.01))
    assert got.made == stack.made
