"""Loads a module and calls it, in the process that is its own. Everything it may do wrong becomes a ModuleFault."""

import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

from splnode.errors import DataError
from splnode.modules.contract import ContractFault, ModuleContract, Value, text_or_refuse
from splnode.modules.protocol import ModuleFault
from splnode.modules.result import Result

MESSAGE_CHARACTERS: Final = 2000
TRACEBACK_CHARACTERS: Final = 16_000


class Runner:
    """One module: `load`, then `run` any number of times."""

    def __init__(self) -> None:
        self._execute: Callable[[dict[str, str], Any], Any] | None = None
        self._contract = ModuleContract()
        self._loop: Any = None  # an asyncio.Runner, once it is needed

    def load(self, uri: str, path: str, contract: str | None) -> None:
        """Runs the file at `path` and keeps its `execute`. ModuleFault(BROKEN) if there is none."""
        module = ModuleType("splnode_module_" + uri.replace("/", "_").replace("-", "_"))
        module.__file__ = path
        sys.modules[module.__name__] = module  # dataclasses and others look themselves up
        try:
            if contract is not None:
                self._contract = ModuleContract(Path(contract).read_text("utf-8"))
            code: CodeType = compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)
            exec(code, module.__dict__)
        except ContractFault as fault:
            raise _told(fault) from None
        except BaseException as error:  # noqa: BLE001 - whatever a module raises, SystemExit too
            raise _raised("BROKEN", error) from None
        execute = getattr(module, "execute", None)
        if not callable(execute):
            raise ModuleFault(code="BROKEN", message=f"{uri}.py has no function execute(headers, value)", traceback="")
        self._execute = execute

    def run(self, headers: dict[str, str], value: Value) -> dict[str, Any]:
        """Calls `execute` and gives the Outcome. ModuleFault says what went wrong, in its code."""
        assert self._execute is not None
        try:
            self._contract.check_headers(headers)
            plain = self._contract.take(value)
        except ContractFault as fault:
            raise _told(fault) from None
        try:
            returned = self._execute(headers, plain)
            if inspect.isawaitable(returned):
                returned = self._wait(returned)
        except BaseException as error:  # noqa: BLE001 - as above
            raise _raised("FAILED", error) from None
        try:
            return self._outcome(returned, self._contract.is_typed(value))
        except ContractFault as fault:
            raise _told(fault) from None
        except Exception as error:  # noqa: BLE001 - a value whose own methods raise
            raise _raised("INVALID_OUTPUT", error) from None
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def _wait(self, returned: Any) -> Any:
        """The result of an async module. Tasks that it leaves running end with the call; its loop stays."""
        import asyncio  # noqa: PLC0415 - a process whose module is not async has no need of it

        if self._loop is None:
            self._loop = asyncio.Runner()
        try:
            return self._loop.run(_as_coroutine(returned))
        finally:
            if left := asyncio.all_tasks(self._loop.get_loop()):
                self._loop.run(_end(left))

    def _outcome(self, returned: Any, typed: bool) -> dict[str, Any]:
        result = returned if isinstance(returned, Result) else Result(returned)
        try:
            headers = {
                text_or_refuse(key, "a header's name"): text_or_refuse(each, f"the header {key!r}")
                for key, each in dict(result.headers).items()
            }
            error = None if result.error is None else text_or_refuse(result.error, "error")
        except DataError as wrong:
            raise ContractFault("INVALID_OUTPUT", f"what the module returned cannot be sent: {wrong}") from None
        value = None if error is not None and result.value is None else self._contract.give(result.value, typed=typed)
        return {"headers": headers, "value": value, "error": error}


async def _as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _end(tasks: set[Any]) -> None:
    import asyncio  # noqa: PLC0415 - as above

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _told(fault: ContractFault) -> ModuleFault:
    return ModuleFault(code=fault.code, message=fault.message, traceback="")


def _raised(code: str, error: BaseException) -> ModuleFault:
    """The exception as `Class: text` for the caller and with its traceback for the log."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - its own __str__ is the module's too
        text = "(its text cannot be shown)"
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return ModuleFault(code=code, message=_fit(message, MESSAGE_CHARACTERS), traceback=_trace(error))


def _trace(error: BaseException) -> str:
    try:
        here = str(Path(__file__).parent)
        stack = error.__traceback__
        while stack is not None and stack.tb_frame.f_code.co_filename.startswith(here):
            stack = stack.tb_next  # our own frames say nothing about the module
        lines = "".join(traceback.format_exception(type(error), error, stack))
    except Exception:  # noqa: BLE001 - as above
        return "(its traceback cannot be shown)"
    return _fit(lines[-TRACEBACK_CHARACTERS:], TRACEBACK_CHARACTERS)


def _fit(text: str, characters: int) -> str:
    cut = text if len(text) <= characters else text[:characters] + "..."
    return cut.encode("utf-8", "backslashreplace").decode()
