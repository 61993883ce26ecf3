import sys
from typing import Any

import pytest

from splnode.avro.json_value import json_to_record, open_record
from splnode.modules.protocol import ModuleFault
from splnode.modules.runner import Runner
from tests.modules.conftest import Put


def loaded(put: Put, text: str, contract: str | None = None) -> Runner:
    runner = Runner()
    beside = str(put("m.avsc", contract)) if contract is not None else None
    runner.load("a/m", str(put("m.py", text)), beside)
    return runner


def refused(call: Any, *args: Any) -> ModuleFault:
    with pytest.raises(ModuleFault) as caught:
        call(*args)
    return caught.value


def test_a_module_is_loaded_once_and_called(put: Put) -> None:
    runner = loaded(
        put, "n = 0\ndef execute(headers, value):\n    global n\n    n += 1\n    return [n, headers, value]\n"
    )
    for number in (1, 2):
        outcome = runner.run({"a": "b"}, "x")
        assert (outcome["headers"], outcome["error"]) == ({}, None)
        assert open_record(outcome["value"], lambda _: None)[1] == [number, {"a": "b"}, "x"]


def test_dataclasses_find_their_module(put: Put) -> None:
    text = "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int\n"
    runner = loaded(put, text + "def execute(headers, value):\n    return dataclasses.asdict(P(1))\n")
    assert open_record(runner.run({}, None)["value"], lambda _: None)[1] == {"x": 1}
    assert sys.modules["splnode_module_a_m"].__file__


def test_the_traceback_begins_in_the_module(put: Put) -> None:
    error = refused(loaded(put, "def execute(headers, value):\n    return 1 / 0\n").run, {}, None)
    assert (error.code, error.message) == ("FAILED", "ZeroDivisionError: division by zero")
    assert error.traceback.startswith("Traceback")
    assert "m.py" in error.traceback
    assert "runner.py" not in error.traceback


def test_a_fault_of_the_caller_has_no_traceback(put: Put) -> None:
    contract = '{"type": "record", "name": "C", "fields": [{"name": "input", "type": "string"}]}'
    runner = loaded(put, "def execute(headers, value):\n    return value\n", contract)
    error = refused(runner.run, {}, json_to_record(5))
    assert (error.code, error.traceback) == ("INVALID_INPUT", "")


def test_what_is_longer_than_useful_is_cut(put: Put) -> None:
    error = refused(loaded(put, "def execute(headers, value):\n    raise ValueError('x' * 10**6)\n").run, {}, None)
    assert len(error.message) < 2100
    assert len(error.traceback) < 17_000


@pytest.mark.parametrize(
    "returned",
    ["Result(headers={1: 'x'})", "Result(headers={'x': None})", "Result(headers=[('a', 1)])", "Result(error=5)"],
)
def test_a_result_with_other_things_in_it(put: Put, returned: str) -> None:
    text = f"from splnode.modules.result import Result\ndef execute(headers, value):\n    return {returned}\n"
    assert refused(loaded(put, text).run, {}, None).code == "INVALID_OUTPUT"


def test_a_value_whose_methods_raise(put: Put) -> None:
    text = (
        "class D(dict):\n    def items(self): raise OSError('mine')\ndef execute(headers, value):\n    return D(a=1)\n"
    )
    error = refused(loaded(put, text).run, {}, None)
    assert (error.code, error.message) == ("INVALID_OUTPUT", "OSError: mine")


def test_what_cannot_be_loaded(put: Put) -> None:
    error = refused(loaded, put, "def execute(")
    assert (error.code, error.message.startswith("SyntaxError")) == ("BROKEN", True)
    error = refused(loaded, put, "x = 1")
    assert error.code == "BROKEN"
    error = refused(Runner().load, "a/m", "/no/such/file.py", None)
    assert error.message.startswith("FileNotFoundError")


def test_what_an_async_module_leaves_running_ends_with_the_call(put: Put) -> None:
    text = """
    import asyncio

    ended = []

    async def background():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async def execute(headers, value):
        seen = list(ended)
        asyncio.create_task(background())
        await asyncio.sleep(0)
        if value == "raise":
            raise ValueError("no")
        return [seen, id(asyncio.get_running_loop())]
    """
    runner = loaded(put, text)
    first, second = (open_record(runner.run({}, None)["value"], lambda _: None)[1] for _ in range(2))
    assert (first[0], second[0]) == ([], ["ended"])
    assert first[1] == second[1]
    refused(runner.run, {}, "raise")
    assert open_record(runner.run({}, None)["value"], lambda _: None)[1][0] == ["ended"] * 3
    runner._loop.close()
