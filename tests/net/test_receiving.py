"""One buffer for each loop."""

import threading

from splnode.net.receiving import LOOK, WHOLE, shared_buffer


def test_one_for_each_thread() -> None:
    others: list[memoryview] = []
    thread = threading.Thread(target=lambda: others.append(shared_buffer()))
    thread.start()
    thread.join()
    assert shared_buffer() is shared_buffer()
    assert others[0] is not shared_buffer()
    assert len(shared_buffer()) == len(others[0]) == WHOLE
    assert not shared_buffer().readonly


def test_a_part_of_it_is_the_same_memory() -> None:
    part = shared_buffer(LOOK)
    assert part is shared_buffer(LOOK)
    shared_buffer()[LOOK - 1] = 7
    assert (len(part), part[-1]) == (LOOK, 7)
