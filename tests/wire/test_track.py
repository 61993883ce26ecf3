"""Tracks: which pipeline the next call may take."""

import asyncio
from collections.abc import Iterator

import pytest

from splnode.wire.engine import native_engine
from splnode.wire.track import Track, make_track
from tests.engines import ENGINES, engine_for_a_test
from tests.wire.test_pipeline import Ask, End


@pytest.fixture(params=ENGINES, autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from engine_for_a_test(request.param, monkeypatch)


async def test_tracks_pick_an_open_line() -> None:
    first, second = End(), End()
    track, above = make_track(), make_track()
    assert track.pick() is None
    if native_engine() is None:  # the plain engine goes through the channels
        return
    track.lines = (first.pipeline,)
    above.lines = [track, second.pipeline]
    assert track.pick() is first.pipeline
    assert {id(above.pick()) for _ in range(100)} == {id(first.pipeline), id(second.pipeline)}
    busy = asyncio.ensure_future(first.pipeline.call(Ask("nothing")))
    await asyncio.sleep(0)
    assert {id(above.pick()) for _ in range(100)} == {id(second.pipeline)}
    second.pipeline.open = False
    assert {id(above.pick()) for _ in range(100)} == {id(first.pipeline)}
    track.lines = ()
    assert above.pick() is None
    for wrong in ([3], [above]):
        with pytest.raises(TypeError, match="a line is"):
            above.lines = wrong
    with pytest.raises(TypeError, match="a line is"):
        track.lines = [above]  # which has it
    busy.cancel()


def test_the_plain_one_sends_everybody_through_the_channels() -> None:
    made = make_track()
    assert made.pick() is None
    assert type(made) is Track or native_engine() is not None
