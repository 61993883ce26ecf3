import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from splnode.errors import CallError, Code
from splnode.modules.directory import ModuleDirectory, ModuleFile
from splnode.modules.process import Crashed, ModuleProcess
from splnode.modules.protocol import ModuleFault
from tests.modules.conftest import Put


@pytest.fixture
async def process() -> AsyncIterator[ModuleProcess]:
    process = await ModuleProcess.start()
    yield process
    process.kill()
    await process.ended()


@pytest.fixture
def module(put: Put) -> ModuleFile:
    path = put("m.py", "import os\ndef execute(headers, value):\n    return eval(value)\n")
    found = ModuleDirectory(path.parent).find("m")
    assert found is not None
    return found


async def test_started_loaded_and_called(process: ModuleProcess, module: ModuleFile) -> None:
    assert process.is_alive
    await process.load(module, 20)
    assert await process.run({}, "str(os.getppid())", 20) == {"headers": {}, "value": str(os.getpid()), "error": None}
    with pytest.raises(ModuleFault, match="ZeroDivisionError"):
        await process.run({}, "1 / 0", 20)
    assert process.is_alive


async def test_its_end_says_how(process: ModuleProcess, module: ModuleFile) -> None:
    await process.load(module, 20)
    with pytest.raises(Crashed, match="exit status 7"):
        await process.run({}, "os._exit(7)", 20)
    assert not process.is_alive
    assert await process.ended() == "exit status 7"


async def test_a_signal_by_name(process: ModuleProcess) -> None:
    process.kill()
    assert await process.ended() == "signal SIGKILL"
    assert not process.is_alive


async def test_who_left_its_group_and_holds_its_output_keeps_nobody_waiting(
    process: ModuleProcess, module: ModuleFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("END_SECONDS", "LAST_SECONDS"):
        monkeypatch.setattr(f"splnode.modules.process.{name}", 0.2)
    await process.load(module, 20)
    outcome = await process.run(
        {}, "str(__import__('subprocess').Popen(['sleep', '60'], start_new_session=True).pid)", 20
    )
    try:
        process.kill()
        assert await process.ended() == "signal SIGKILL"
    finally:
        os.kill(int(outcome["value"]), signal.SIGKILL)


async def test_a_deadline(process: ModuleProcess, module: ModuleFile) -> None:
    await process.load(module, 20)
    with pytest.raises(CallError) as caught:
        await process.run({}, "[None for _ in iter(int, 1)]", 0.05)
    assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_no_descriptor_of_the_node_is_inherited(process: ModuleProcess, module: ModuleFile) -> None:
    await process.load(module, 20)
    outcome = await process.run({}, "str(sorted(map(int, os.listdir('/proc/self/fd'))))", 20)
    assert len(eval(outcome["value"])) <= 5  # three of its own, the socket, and the listing itself


async def test_a_cancelled_start_leaves_nothing() -> None:
    starting = asyncio.ensure_future(ModuleProcess.start())
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()


async def test_a_start_that_the_system_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(CallError, match="No such file") as caught:
        await ModuleProcess.start()
    assert (caught.value.code, caught.value.started) == (Code.UNAVAILABLE, False)


async def test_a_process_that_dies_at_once() -> None:
    with pytest.raises(CallError) as caught:
        await ModuleProcess.start(memory=1 << 20)  # too little for Python itself
    assert caught.value.code is Code.UNAVAILABLE


def test_on_uvloop_too(module: ModuleFile) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> object:
        process = await ModuleProcess.start()
        await process.load(module, 20)
        outcome = await process.run({}, "'from a process'", 20)
        process.kill()
        assert await process.ended() == "signal SIGKILL"
        return outcome["value"]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == "from a process"
