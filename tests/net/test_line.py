import asyncio

import pytest

from splnode.net.line import TURNS, Line


class Place:
    """Something with room."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.changes: list[bool] = []
        self.line = Line(lambda: self.room, lambda: self.changes.append(self.line.busy))

    async def use(self, used: list[int], number: int, seconds: float = 10) -> None:
        await self.line.turn(seconds)
        used.append(number)
        self.room -= 1
        self.line.done()


async def test_turns_are_given_in_order_as_room_comes() -> None:
    place, used = Place(0), list[int]()
    tasks = [asyncio.create_task(place.use(used, number)) for number in range(5)]
    await asyncio.sleep(0)
    assert (place.line.busy, len(place.line.waiting), place.changes[-1]) == (True, 5, True)
    place.room = 2
    place.line.go_on()
    assert place.line.called == 2
    await asyncio.gather(*tasks[:2])
    assert used == [0, 1]
    place.room = 10
    place.line.go_on()
    await asyncio.gather(*tasks)
    assert used == [0, 1, 2, 3, 4]
    assert (place.line.busy, place.changes[-1]) == (False, False)


async def test_whose_time_is_over_leaves_the_line() -> None:
    place, used = Place(0), list[int]()
    with pytest.raises(TimeoutError):
        await place.use(used, 1, 0.001)
    assert not place.line.busy
    late = asyncio.create_task(place.use(used, 2))
    other = asyncio.create_task(place.use(used, 3))
    await asyncio.sleep(0)
    late.cancel()
    place.room = 1
    place.line.go_on()
    await other
    assert (used, place.line.busy) == ([3], False)


async def test_cancelled_in_the_moment_its_turn_came_it_passes_it_on() -> None:
    place, used = Place(0), list[int]()
    first, second = (asyncio.create_task(place.use(used, number)) for number in range(2))
    await asyncio.sleep(0)
    place.room = 1
    place.line.go_on()
    first.cancel()
    await second
    assert (used, place.line.called) == ([1], 0)


async def test_who_found_no_room_stands_first_again() -> None:
    place, order = Place(0), list[str]()

    async def again() -> None:
        await place.line.turn(10)
        place.line.called -= 1
        await place.line.turn(10, first=False)
        order.append("again")
        place.line.done()

    async def other() -> None:
        await place.line.turn(10)
        order.append("other")
        place.line.done()

    tasks = [asyncio.create_task(again()), asyncio.create_task(other())]
    await asyncio.sleep(0)
    place.room = 1
    place.line.go_on()
    await asyncio.sleep(0)
    place.line.go_on()
    await asyncio.gather(*tasks)
    assert order == ["again", "other"]


async def test_of_many_some_are_let_in_at_a_time_and_all_released() -> None:
    place, used = Place(0), list[int]()
    tasks = [asyncio.create_task(place.use(used, number)) for number in range(3 * TURNS)]
    await asyncio.sleep(0)
    place.room = 10 * TURNS
    place.line.go_on()
    assert place.line.called == TURNS
    place.room = -10 * TURNS
    place.line.release()
    assert place.line.called == 3 * TURNS
    await asyncio.gather(*tasks)
    assert used == list(range(3 * TURNS))
