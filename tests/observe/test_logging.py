import io
import json
import os
import sys
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from splnode.observe import logging
from splnode.observe.logging import configure


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_where_nobody_watches() -> None:
    out = io.StringIO()
    configure(stream=out)
    structlog.get_logger("splnode.test").info("serving", node="n1")
    line = json.loads(out.getvalue())
    assert (line["event"], line["node"], line["level"]) == ("serving", "n1", "info")
    assert line["timestamp"].endswith("Z")


def test_readable_on_a_terminal() -> None:
    out = Terminal()
    configure(stream=out)
    structlog.get_logger().info("serving", node="n1")
    assert "serving" in out.getvalue()
    assert not out.getvalue().startswith("{")


def test_an_exception_is_one_line_of_json() -> None:
    out = io.StringIO()
    configure(form="json", stream=out)
    try:
        raise ValueError("bad")
    except ValueError as error:
        structlog.get_logger().error("handler failed", exc_info=error)
    (line,) = out.getvalue().splitlines()
    assert "ValueError: bad" in json.loads(line)["exception"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_does_not_show_what_variables_hold(form: Literal["text", "json"]) -> None:
    out = io.StringIO()
    configure(form=form, stream=out)

    def handle(token: str) -> None:
        raise ValueError("bad")

    try:
        handle("spl_" + "secret")
    except ValueError as error:
        structlog.get_logger().error("handler failed", exc_info=error)
    assert "ValueError: bad" in out.getvalue()
    assert "spl_secret" not in out.getvalue()


def test_the_level_can_change_while_running() -> None:
    out = io.StringIO()
    log = structlog.get_logger("splnode.test")
    configure("warning", "json", out)
    log.info("unheard")
    configure("info", "json", out)
    log.info("heard")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["heard"]


def test_stderr_that_nobody_reads_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb", 0) as pipe, open(writer, "w") as stderr:  # noqa: PTH123 - descriptors
        monkeypatch.setattr(sys, "stderr", stderr)
        configure("info", "json")
        for number in range(10_000):
            structlog.get_logger().info("flood", number=number)
        assert json.loads(pipe.readline())["number"] == 0


def test_no_stderr_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    configure("info", "auto")
    structlog.get_logger().info("to nobody")
    logging._nowhere().close()
    logging._nowhere.cache_clear()
