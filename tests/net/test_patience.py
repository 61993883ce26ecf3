import asyncio
import socket
import time
from typing import Any

import pytest
import uvloop

from splnode.net.patience import Patience


async def busy_while_a_peer_sends() -> list[str]:
    """Who expires of three whose time is up before the loop has read: one has sent, one has not, one is discarded."""
    expired: list[str] = []
    done = asyncio.Event()
    patience: Patience[str] = Patience(lambda key: (expired.append(key), done.set())[0])
    ours, theirs = socket.socketpair()
    with ours, theirs:
        asyncio.get_running_loop().add_reader(ours, patience.discard, "sent")
        for key in ("sent", "silent", "gone"):
            patience.add(key, time.monotonic() - 1)
        patience.discard("gone")
        theirs.send(b"x")
        await asyncio.wait_for(done.wait(), 10)
        asyncio.get_running_loop().remove_reader(ours)
        patience.close()
    return expired


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_came_while_the_loop_was_busy_is_read_before_a_peer_goes(new_loop: Any) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(busy_while_a_peer_sends()) == ["silent"]


async def test_whose_time_starts_again_has_all_of_it() -> None:
    expired: list[str] = []
    patience: Patience[str] = Patience(expired.append)
    patience.add("a", 0.0)
    for _ in range(2):
        patience._sweep(1.0)
        patience.add("a", 0.0)
    assert expired == []
    patience._sweep(1.0)
    patience._sweep(float("inf"))
    assert expired == ["a"]
    assert not patience._deadlines
    assert not patience._warned
    patience.close()
