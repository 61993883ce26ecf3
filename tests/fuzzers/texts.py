"""Targets: texts from files, from the network's names and from those who type. Each takes any bytes."""

import atexit
import contextlib
import json
import os
import tempfile
from functools import cache
from pathlib import Path

from splnode.config import parse, to_builtins
from splnode.config.reading import from_builtins
from splnode.discovery import txt
from splnode.discovery.file import read
from splnode.endpoint import Endpoint
from splnode.errors import ConfigError, DataError
from splnode.modules.contract import ContractFault, ModuleContract


def txt_record(data: bytes) -> None:
    """TXT records: refused with a reason, or what is announced again reads the same."""
    try:
        found = txt.decode(data)
    except txt.BadTxtError as error:
        assert str(error)
        return
    with contextlib.suppress(txt.BadTxtError):  # too long for what we announce ourselves
        again = txt.decode(txt.encode(found))
        assert (again.node, again.epoch, again.state) == (found.node, found.epoch, found.state)
        assert again.service.name == found.service.name


def config(data: bytes) -> None:
    """Config files: refused with the file's name, or settings that survive being passed to another process."""
    try:
        found = parse(data.decode(), "here.toml")
    except UnicodeDecodeError:
        return
    except ConfigError as error:
        assert "here.toml" in str(error), error
        return
    assert from_builtins(json.loads(json.dumps(to_builtins(found)))) == found


def endpoint(data: bytes) -> None:
    """Endpoints: refused, or what is printed means the same."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = Endpoint.parse(text)
    except ConfigError as error:
        assert str(error)
        return
    assert Endpoint.parse(str(found)) == found, (text, str(found))
    assert found.is_local in (True, False)


def contract(data: bytes) -> None:
    """Contracts of modules, and values that are held against them."""
    text, _, raw = data.partition(b"\0")
    try:
        found = ModuleContract(text.decode("utf-8", "surrogateescape"))
    except ContractFault as fault:
        assert fault.message
        return
    for value in (None, raw, raw.decode("utf-8", "replace"), {"schema": "splnode.Json", "data": raw}):
        with contextlib.suppress(ContractFault):
            taken = found.take(value)
            with contextlib.suppress(DataError):
                found.give(taken)
    with contextlib.suppress(ContractFault):
        found.check_headers({raw.decode("utf-8", "replace"): ""})


def peers(data: bytes) -> None:
    """Files of peers, TOML and JSON: refused with the file's name, or endpoints that can be printed."""
    path = _file()
    path.write_bytes(data)
    try:
        found = read(path)
    except ConfigError as error:
        assert str(path) in str(error), error
        return
    for each in found:
        for where in each.endpoints:
            assert Endpoint.parse(str(where)) == where


@cache
def _file() -> Path:
    handle, name = tempfile.mkstemp(prefix="splnode-fuzz-")
    os.close(handle)
    atexit.register(os.unlink, name)
    return Path(name)
