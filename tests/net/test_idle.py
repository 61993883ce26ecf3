import asyncio

from splnode.net.idle import LOOKS, Idle


class Line:
    def __init__(self) -> None:
        self.received = 0
        self.busy = False

    @property
    def traffic(self) -> tuple[int, int]:
        return self.received, 0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_who_is_silent_for_the_time_goes() -> None:
    lines, gone, clock = [Line(), Line(), Line()], list[Line](), Clock()
    idle = Idle(lines, 40.0, gone.append, clock)
    lines[2].busy = True
    for second in range(0, 60, 10):
        clock.now = 1000.0 + second
        lines[1].received += 1
        idle.look()
    assert gone == lines[:1]
    lines.remove(lines[0])
    gone.clear()
    clock.now += 39
    idle.look()
    assert not gone
    clock.now += 1
    idle.look()
    assert gone == lines[:1]  # the busy one is not idle


async def test_a_look_now_and_then_while_there_are_any() -> None:
    lines, gone = {Line()}, asyncio.Event()

    def over(line: Line) -> None:
        lines.remove(line)
        gone.set()

    idle = Idle(lines, LOOKS * 0.01, over)
    idle.watch()
    idle.watch()
    await asyncio.wait_for(gone.wait(), 10)
    assert idle._timer is None
    lines.add(Line())
    idle.watch()
    idle.close()
    assert idle._timer is None
