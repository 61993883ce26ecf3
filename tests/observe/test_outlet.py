import fcntl
import os
import select
from collections.abc import Iterator

import pytest

from splnode.observe.outlet import KEPT, PIECE, Outlet


class Pipe:
    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIECE)
        self.outlet = Outlet(self.writer, lambda lines: f"{lines} lost\n")

    def log(self, text: str) -> None:
        self.outlet.write(text)
        self.outlet.flush()

    def read(self) -> str:
        """All that is there."""
        out = b""
        while select.select([self.reader], [], [], 0)[0]:
            data = os.read(self.reader, 1 << 16)
            if not data:
                break
            out += data
        return out.decode()

    def close(self) -> None:
        for descriptor in {self.reader, self.writer} - {-1}:
            os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_a_line_is_there_at_once(pipe: Pipe) -> None:
    pipe.log("naïve\n")
    assert pipe.read() == "naïve\n"


def test_what_is_longer_than_the_pipe_comes_whole(pipe: Pipe) -> None:
    text = "".join(f"{n}\n" for n in range(5000))
    pipe.log(text)
    got = ""
    while len(got) < len(text):
        got += pipe.read()
        pipe.outlet.flush()
    assert got == text


def test_nobody_waits_for_a_reader_and_the_lost_lines_are_counted(pipe: Pipe) -> None:
    line = "x" * 999 + "\n"
    lines = KEPT // len(line) + 100
    for _ in range(lines):
        pipe.log(line)
    got = ""
    while "lost" not in got:
        got += pipe.read()
        pipe.outlet.flush()
    kept = got.count(line)
    assert got == line * kept + f"{lines - kept} lost\n"
    pipe.log("again\n")
    assert pipe.read() == "again\n"


def test_a_reader_that_has_gone_is_no_error(pipe: Pipe) -> None:
    os.close(pipe.reader)
    pipe.reader = -1
    pipe.log("to nobody\n")
    pipe.outlet.drain()


def test_a_pipe_that_somebody_made_non_blocking(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    for _ in range(10):
        pipe.log("y" * 1000 + "\n")
    got = ""
    while len(got) < 10_010:
        got += pipe.read()
        pipe.outlet.flush()
    assert got == ("y" * 1000 + "\n") * 10


def test_the_end_waits_only_a_moment(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splnode.observe.outlet.LAST", 0.01)
    pipe.log("z" * 2 * PIECE)
    pipe.outlet.drain()
    assert len(pipe.read()) == PIECE


def test_a_slow_reader_has_no_moment_for_each_piece(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0

    class Slow:
        """Ready after 0.9 s, each time."""

        def poll(self, milliseconds: float) -> list[int]:
            nonlocal now
            now += min(milliseconds / 1000, 0.9)
            return [1] if milliseconds >= 900 else []

    monkeypatch.setattr("time.monotonic", lambda: now)
    pipe.outlet.write("z" * 5 * PIECE)
    pipe.outlet._poll = Slow()  # type: ignore[assignment]  # so much of a poll
    pipe.outlet.drain()
    assert now == pytest.approx(1001)
    assert len(pipe.read()) == PIECE
