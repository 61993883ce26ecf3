"""All modules that can be called by a URI: the built-in ones, and those of a directory."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

import structlog

from splnode.errors import CallError, Code, ConfigError
from splnode.modules.builtin import BuiltIn, built_in_modules
from splnode.modules.contract import ContractFault, ModuleContract, Value
from splnode.modules.directory import ModuleDirectory, ModuleFile, check_uri
from splnode.modules.errors import ExecutionError, fault
from splnode.modules.files import Folder
from splnode.modules.pool import Pool
from splnode.modules.process import MEMORY, Crashed, ModuleProcess
from splnode.modules.protocol import ModuleFault
from splnode.modules.result import Result
from splnode.rpc.call import DEFAULT_TIMEOUT, deadline_for
from splnode.rpc.client import Client

log = structlog.get_logger("splnode.modules")

ANY: Final = (
    '{"type": "record", "name": "Anything", "doc": "This module has no contract: it takes and gives what it likes.",'
    ' "fields": []}'
)


class Modules:
    """Runs modules. Built-in ones run in this process, and reach the data through `data`, a client of
    SPLDataService, and the folder `files`; those below `directory` in processes of their own, at most `workers`
    of them, of which `kept` stay when nothing is called, each with `memory` bytes.

    A built-in module cannot be replaced by a file. Whoever made it closes it.
    """

    def __init__(
        self,
        directory: str | PathLike[str] | None,
        *,
        data: Client | None = None,
        files: str | PathLike[str] | None = None,
        workers: int = 16,
        kept: int = 2,
        memory: int = MEMORY,
        environment: Sequence[str] = (),
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._directory = ModuleDirectory(directory)
        if self._directory.root is not None and not self._directory.root.is_dir():
            raise ConfigError(f"modules: {self._directory.root} is no directory: make it, or name another")
        self._files = Folder(files) if files is not None else None
        self._built_in: Mapping[str, BuiltIn] = built_in_modules(data, self._files)
        self._timeout = timeout
        turn = asyncio.Lock()
        self._pool = Pool(lambda: ModuleProcess.start(memory, environment, turn), workers, kept)
        self._seen: dict[str, ModuleFile] = {}

    def is_built_in(self, uri: str) -> bool:
        """Whether a module runs in this process."""
        return uri in self._built_in

    async def execute(self, uri: str, headers: Mapping[str, str], value: Value) -> Result:
        """Calls the module; `Result.value` is null, bytes, text or a splnode.Record.

        ExecutionError for all that the module, its name or its arguments do wrong;
        CallError(DEADLINE_EXCEEDED) if it takes too long: it is then stopped.
        """
        own = self._built_in.get(uri)
        if own is not None:
            return await own.call(uri, headers, value)
        module = self._directory.find(uri)
        if module is None:
            self._drop(uri)
            raise self._missing(uri)
        if self._seen.get(uri) != module:
            self._drop(uri)
            self._seen[uri] = module
        return await self._run(module, headers, value)

    async def uris(self) -> list[str]:
        """All URIs, sorted."""
        listed = await asyncio.to_thread(self._directory.list)
        return sorted({*self._built_in, *listed})

    async def contract(self, uri: str) -> str:
        """The text of a module's contract. ExecutionError if there is no such module, or it is unusable."""
        own = self._built_in.get(uri)
        found = own.contract if own is not None else await asyncio.to_thread(self._read_contract, uri)
        return found.text or ANY

    async def schema_text(self, fingerprint: str) -> str | None:
        """The text of a schema that a Record of a module may have, by its fingerprint, for splnode.Reflection."""
        return await asyncio.to_thread(self._find_schema, fingerprint)

    async def tidy(self) -> None:
        """Removes from the files what a node that was killed left unfinished. Once, at the start."""
        if self._files is not None and (removed := await asyncio.to_thread(self._files.tidy)):
            log.info("files removed that were never finished", files=removed, folder=str(self._files.root))

    async def close(self) -> None:
        """Stops what runs."""
        await self._pool.close()

    async def _run(self, module: ModuleFile, headers: Mapping[str, str], value: Value) -> Result:
        deadline = deadline_for(self._timeout)
        process: ModuleProcess | None = None
        reusable = False
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                process, new = await self._pool.acquire(module)
                if new:
                    await process.load(module, deadline - time.monotonic())
                outcome = await process.run(headers, value, deadline - time.monotonic())
            reusable = True
        except ModuleFault as error:
            # A process that has run out of memory seldom gives back what it took.
            reusable = error.code != "BROKEN" and not error.message.startswith("MemoryError")
            raise _told(module.uri, error) from None
        except Crashed as error:
            if self._pool.is_closed:
                text = f"module {module.uri} was stopped: this node is stopping"
                raise CallError(Code.UNAVAILABLE, text) from None
            text = f"the module's process ended during the call: {error}"
            log.warning("module crashed", module=module.uri, how=str(error))
            raise fault(module.uri, "CRASHED", text) from None
        except TimeoutError:
            raise self._late(module, process) from None
        except CallError as error:
            if error.code is Code.DEADLINE_EXCEEDED and not error.remote:
                raise self._late(module, process) from None
            raise
        finally:
            if process is not None:
                self._pool.release(process, module, reusable=reusable)
        return Result(outcome["value"], headers=outcome["headers"], error=outcome["error"])

    def _late(self, module: ModuleFile, process: ModuleProcess | None) -> CallError:
        if process is None:
            text = f"module {module.uri}: no process was free, and none started, before the deadline"
            return CallError(Code.DEADLINE_EXCEEDED, text, started=False)
        log.warning("module stopped at its deadline", module=module.uri)
        return CallError(Code.DEADLINE_EXCEEDED, f"module {module.uri} did not end before the deadline and was stopped")

    def _drop(self, uri: str) -> None:
        known = self._seen.pop(uri, None)
        if known is not None:
            self._pool.forget(known)

    def _read_contract(self, uri: str) -> ModuleContract:
        module = self._directory.find(uri)
        if module is None:
            raise self._missing(uri)
        try:
            text = None if module.contract is None else Path(module.contract).read_text("utf-8")
            return ModuleContract(text)
        except ContractFault as wrong:
            raise fault(uri, wrong.code, wrong.message) from None
        except (OSError, UnicodeDecodeError) as error:
            raise fault(uri, "BROKEN", f"the module's contract cannot be read: {error}") from None

    def _find_schema(self, fingerprint: str) -> str | None:
        for uri in self._directory.list():
            with contextlib.suppress(ExecutionError):  # a broken contract knows no schema
                text = self._read_contract(uri).schema_text(fingerprint)
                if text is not None:
                    return text
        return None

    def _missing(self, uri: str) -> ExecutionError:
        check_uri(uri)
        where = "" if self._directory.root else " (this node has no module directory)"
        return fault(
            uri, "NOT_FOUND", f"there is no module {uri!r}{where}: see listAvailableModules for those there are"
        )


def _told(uri: str, error: ModuleFault) -> ExecutionError:
    """The caller's error; the traceback stays here, under an id that both have."""
    details: dict[str, Any] = {"module": uri, "error": error.message}
    incident = None
    if error.traceback:
        incident = uuid.uuid4().hex[:12]
        log.error("module failed", incident=incident, traceback=error.traceback, **details)
    return fault(uri, error.code, error.message, incident)
