import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import structlog

from splnode.avro.fingerprint import canonical_form, crc64_avro
from splnode.avro.json_value import json_to_record, make_record, open_record
from splnode.avro.schema import parse_schema
from splnode.avro.single_object import show
from splnode.errors import CallError, Code, ConfigError
from splnode.modules.catalogue import Modules
from splnode.modules.errors import ExecutionError
from splnode.rpc.call import deadline
from tests.modules.conftest import Put

FINE = "def execute(headers, value):\n    return 'fine'\n"


def plain(value: Any) -> Any:
    return open_record(value, lambda _: None)[1]


async def test_a_module_is_called(modules: Modules, put: Put) -> None:
    put("acme/text/upper.py", "def execute(headers, value):\n    return value.upper() + headers['mark']\n")
    result = await modules.execute("acme/text/upper", {"mark": "!"}, "hello")
    assert (result.value, result.headers, result.error) == ("HELLO!", {}, None)


@pytest.mark.parametrize("value", [None, b"", b"\x00\xff", "", "grüße"])
async def test_values_pass_through(modules: Modules, put: Put, value: Any) -> None:
    put("echo.py", "def execute(headers, value):\n    return value\n")
    assert (await modules.execute("echo", {}, value)).value == value


async def test_json_comes_as_python_and_goes_back(modules: Modules, put: Put) -> None:
    put("total.py", "def execute(headers, value):\n    return {'total': sum(value['items']), 'of': value}\n")
    given = {"items": [1, 2, 3], "none": None, "deep": [{"x": 0.5}, True]}
    result = await modules.execute("total", {}, json_to_record(given))
    assert plain(result.value) == {"total": 6, "of": given}


async def test_a_record_without_a_contract_passes_as_it_is(modules: Modules, put: Put) -> None:
    put("echo.py", "def execute(headers, value):\n    return value\n")
    record = {"schema": "com.acme.User", "data": b"\xc3\x01" + bytes(10)}
    assert (await modules.execute("echo", {}, record)).value == record


async def test_async_modules_and_results(modules: Modules, put: Put) -> None:
    put(
        "go.py",
        """
        import asyncio
        from splnode.modules.result import Result

        async def execute(headers, value):
            await asyncio.sleep(0)
            if value == "fail":
                return Result(error="there is nothing to do")
            return Result([1], headers={"currency": "EUR"})
        """,
    )
    for _ in range(2):
        result = await modules.execute("go", {}, None)
        assert (plain(result.value), result.headers, result.error) == ([1], {"currency": "EUR"}, None)
    assert (await modules.execute("go", {}, "fail")).error == "there is nothing to do"


BAD = {
    "raise ValueError('no good')": ("FAILED", "ValueError: no good"),
    "raise SystemExit(3)": ("FAILED", "SystemExit: 3"),
    "raise KeyboardInterrupt": ("FAILED", "KeyboardInterrupt"),
    "return execute(headers, value)": ("FAILED", "RecursionError: maximum recursion"),
    "bytearray(1 << 40)": ("FAILED", "MemoryError"),
    "return object()": ("INVALID_OUTPUT", "JSON has no object"),
    "return {1: 2}": ("INVALID_OUTPUT", "must be a string"),
    "return {1, 2}": ("INVALID_OUTPUT", "JSON has no set"),
    "return '\\ud800'": ("INVALID_OUTPUT", ""),
    "return b'x' * (5 << 20)": ("INVALID_OUTPUT", "message_bytes"),
    "from splnode.modules.result import Result; return Result(headers={'a': 1})": (
        "INVALID_OUTPUT",
        "header 'a' must be",
    ),
    "import os; os._exit(3)": ("CRASHED", "exit status 3"),
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": ("CRASHED", "signal SIGSEGV"),
    "import os, sys; os.write(int(sys.argv[1]), b'junk' * 1000)": ("CRASHED", "its connection broke"),
    "class E(Exception):\n        __str__ = lambda self: 1 / 0\n    raise E": (
        "FAILED",
        "E: (its text cannot be shown)",
    ),
    "raise ValueError('\\ud800' + 'x' * 10**6)": ("FAILED", "ValueError: \\ud800xxx"),
}


@pytest.mark.parametrize("body", BAD)
async def test_what_a_module_does_wrong_harms_its_own_call_alone(modules: Modules, put: Put, body: str) -> None:
    put("bad.py", f"def execute(headers, value):\n    if value == 'ok':\n        return 'fine'\n    {body}\n")
    put("good.py", FINE)
    code, text = BAD[body]
    for _ in range(2):
        with pytest.raises(ExecutionError) as caught:
            await modules.execute("bad", {}, None)
        assert (caught.value.module, caught.value.code) == ("bad", code)
        assert text in caught.value.message
        assert len(caught.value.message) < 3000
        assert (await modules.execute("good", {}, None)).value == "fine"
        assert (await modules.execute("bad", {}, "ok")).value == "fine"


BROKEN = {
    "def execute(headers, value:": "SyntaxError",
    "raise OSError('at import')": "OSError: at import",
    "import no_such_module_anywhere": "ModuleNotFoundError",
    "x = 1": "has no function execute",
    "execute = 5": "has no function execute",
    "exit()": "SystemExit",
}


@pytest.mark.parametrize("text", BROKEN)
async def test_a_module_that_cannot_be_loaded(modules: Modules, put: Put, text: str) -> None:
    path = put("broken.py", text)
    with pytest.raises(ExecutionError, match=BROKEN[text]) as caught:
        await modules.execute("broken", {}, None)
    assert caught.value.code == "BROKEN"
    path.write_text(FINE)
    assert (await modules.execute("broken", {}, None)).value == "fine"


HANGING = {
    "loop": "while True: pass",
    "sleep": "import time; time.sleep(1000)",
    "c": "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
    "deaf": "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(1000)",
}


@pytest.mark.parametrize("name", HANGING)
@pytest.mark.parametrize("word", ["def", "async def"])
async def test_a_module_that_hangs_is_stopped_at_the_deadline(modules: Modules, put: Put, name: str, word: str) -> None:
    put("hangs.py", f"{word} execute(headers, value):\n    if value == 'ok': return 'fine'\n    {HANGING[name]}\n")
    assert (await modules.execute("hangs", {}, "ok")).value == "fine"
    with deadline(0.3), pytest.raises(CallError, match="was stopped") as caught:
        await modules.execute("hangs", {}, None)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert (await modules.execute("hangs", {}, "ok")).value == "fine"


async def test_a_module_that_hangs_while_it_is_loaded(modules: Modules, put: Put) -> None:
    path = put("hangs.py", "while True: pass")
    with deadline(1), pytest.raises(CallError) as caught:
        await modules.execute("hangs", {}, None)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    path.write_text(FINE)
    assert (await modules.execute("hangs", {}, None)).value == "fine"


async def test_a_cancelled_call_kills_its_process_and_what_it_started(
    modules: Modules, put: Put, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    put(
        "hangs.py",
        f"""
        import subprocess, time

        def execute(headers, value):
            file = open({str(pipe)!r}, "wb", 0)
            child = subprocess.Popen(["sleep", "1000"], stdout=file)
            file.write(b"%d" % child.pid)
            time.sleep(1000)
        """,
    )
    call = asyncio.ensure_future(modules.execute("hangs", {}, None))
    with await asyncio.to_thread(pipe.open, "rb") as file:
        first = await asyncio.to_thread(file.read, 1)
        assert first
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        await asyncio.to_thread(file.read)  # ends when both have ended: nobody holds the pipe


async def test_many_calls_at_once(modules: Modules, put: Put) -> None:
    put("echo.py", "def execute(headers, value):\n    return value\n")
    put("other.py", "def execute(headers, value):\n    return value\n")
    jobs = [modules.execute("echo" if number % 3 else "other", {}, str(number)) for number in range(100)]
    assert [result.value for result in await asyncio.gather(*jobs)] == [str(number) for number in range(100)]


async def test_one_process_serves_one_module_call_after_call(modules: Modules, put: Put) -> None:
    text = (
        "import os\ncalls = []\ndef execute(headers, value):\n    calls.append(1)\n    return os.getpid(), len(calls)\n"
    )
    put("a.py", text)
    put("b.py", text)
    first, second = [plain((await modules.execute("a", {}, None)).value) for _ in range(2)]
    other = plain((await modules.execute("b", {}, None)).value)
    assert first[0] == second[0] != other[0]
    assert [first[1], second[1], other[1]] == [1, 2, 1]


async def test_a_changed_file_is_picked_up(modules: Modules, put: Put) -> None:
    for number in range(5):
        put("a.py", f"def execute(headers, value):\n    return {str(number)!r}\n")
        assert (await modules.execute("a", {}, None)).value == str(number)


async def test_a_removed_file_is_gone(modules: Modules, put: Put) -> None:
    path = put("a.py", FINE)
    await modules.execute("a", {}, None)
    path.unlink()
    with pytest.raises(ExecutionError, match="there is no module 'a'") as caught:
        await modules.execute("a", {}, None)
    assert caught.value.code == "NOT_FOUND"


async def test_the_traceback_stays_in_the_log_under_the_callers_id(modules: Modules, put: Put) -> None:
    path = put("bad.py", "def execute(headers, value):\n    raise ValueError('no good')\n")
    with structlog.testing.capture_logs() as logs, pytest.raises(ExecutionError) as caught:
        await modules.execute("bad", {}, None)
    (entry,) = [each for each in logs if each["event"] == "module failed"]
    assert entry["incident"] == caught.value.id
    assert f'File "{path}", line 2, in execute' in entry["traceback"]
    assert "runner.py" not in entry["traceback"]
    assert "Traceback" not in caught.value.message


async def test_what_a_module_prints_goes_to_the_log(modules: Modules, put: Put) -> None:
    put(
        "talks.py",
        """
        import os, sys

        print("loading")

        def execute(headers, value):
            print("to stdout", flush=False)
            print("to stderr", file=sys.stderr)
            os.write(1, b"raw bytes \\xff and no end")
            return sys.stdin.read()
        """,
    )
    with structlog.testing.capture_logs() as logs:
        assert (await modules.execute("talks", {}, None)).value == ""
        await modules.close()
    said = [each["text"] for each in logs if each["event"] == "module printed" and each["module"] == "talks"]
    assert said == ["loading", "to stdout", "to stderr", "raw bytes \N{REPLACEMENT CHARACTER} and no end"]


async def test_a_flood_of_prints_is_cut(modules: Modules, put: Put) -> None:
    put("floods.py", "def execute(headers, value):\n    print('x' * (1 << 20))\n    return 'done'\n")
    with structlog.testing.capture_logs() as logs:
        assert (await modules.execute("floods", {}, None)).value == "done"
        await modules.close()
    assert sum(len(each.get("text", "")) for each in logs) <= 256 * 1024
    assert any("prints too much" in each["event"] for each in logs)


async def test_a_module_sees_little_of_the_environment(
    modules: Modules, put: Put, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("WANTED", "y")
    put("env.py", "import os\ndef execute(headers, value):\n    return sorted(os.environ)\n")
    seen = plain((await modules.execute("env", {}, None)).value)
    assert "PATH" in seen
    assert not {"SECRET_TOKEN", "WANTED"} & set(seen)
    asked = Modules(root, environment=["WANTED"])
    assert "WANTED" in plain((await asked.execute("env", {}, None)).value)
    await asked.close()


async def test_nothing_is_written_beside_the_modules(modules: Modules, put: Put, root: Path) -> None:
    put("a/b/c.py", FINE)
    await modules.execute("a/b/c", {}, None)
    assert await asyncio.to_thread(lambda: sorted(path.name for path in root.rglob("*"))) == ["a", "b", "c.py"]


CONTRACT = """
{"type": "record", "name": "Add", "fields": [
  {"name": "headers", "type": {"type": "record", "name": "AddHeaders", "fields": [
    {"name": "currency", "type": "string"}, {"name": "note", "type": ["null", "string"], "default": null}]}},
  {"name": "input", "type": {"type": "record", "name": "Pair", "fields": [
    {"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 5}]}},
  {"name": "output", "type": {"type": "record", "name": "Sum", "fields": [
    {"name": "sum", "type": "int"}, {"name": "of", "type": "Pair"}]}}
]}
"""
ADD = """
def execute(headers, value):
    if value["a"] == 0:
        return {"sum": "none"}
    return {"sum": value["a"] + value["b"], "of": value}
"""


async def test_a_contract_is_enforced(modules: Modules, put: Put) -> None:
    put("add.py", ADD)
    put("add.avsc", CONTRACT)
    result = await modules.execute("add", {"currency": "EUR"}, json_to_record({"a": 1}))
    assert plain(result.value) == {"sum": 6, "of": {"a": 1, "b": 5}}
    wrong: list[tuple[dict[str, str], Any, str, str]] = [
        ({}, json_to_record({"a": 1}), "INVALID_INPUT", "needs the header currency"),
        ({"currency": "EUR"}, json_to_record({"a": "x"}), "INVALID_INPUT", "a: "),
        ({"currency": "EUR"}, json_to_record({"b": 1}), "INVALID_INPUT", "a"),
        ({"currency": "EUR"}, "text", "INVALID_INPUT", "does not fit the module's input"),
        ({"currency": "EUR"}, None, "INVALID_INPUT", "does not fit the module's input"),
        ({"currency": "EUR"}, {"schema": "X", "data": b"\xc3\x01" + bytes(8)}, "INVALID_INPUT", "'Pair' is asked for"),
        ({"currency": "EUR"}, json_to_record({"a": 0}), "INVALID_OUTPUT", "sum"),
    ]
    for headers, value, code, text in wrong:
        with pytest.raises(ExecutionError) as caught:
            await modules.execute("add", headers, value)
        assert (caught.value.code, text in caught.value.message) == (code, True), caught.value.message


async def test_a_contract_is_given_to_who_asks(modules: Modules, put: Put) -> None:
    put("add.py", ADD)
    assert "no contract" in await modules.contract("add")
    put("add.avsc", CONTRACT)
    assert await modules.contract("add") == CONTRACT
    put("add.avsc", '{"type": "record", "name": "X", "fields": [{"name": "inptu", "type": "int"}]}')
    for ask in (modules.contract("add"), modules.execute("add", {}, None)):
        with pytest.raises(ExecutionError, match="inptu") as caught:
            await ask
        assert caught.value.code == "BROKEN"
    with pytest.raises(ExecutionError) as caught:
        await modules.contract("not/there")
    assert caught.value.code == "NOT_FOUND"


async def test_schemas_of_contracts_by_fingerprint(modules: Modules, put: Put) -> None:
    put("add.py", ADD)
    put("add.avsc", CONTRACT)
    put("broken.py", FINE)
    put("broken.avsc", "{")
    known = parse_schema(CONTRACT).fields[2].schema
    text = await modules.schema_text(show(crc64_avro(known)))
    assert text is not None
    assert canonical_form(parse_schema(text)) == canonical_form(known)
    typed = make_record(parse_schema(CONTRACT).fields[1].schema, {"a": 1, "b": 2})
    result = await modules.execute("add", {"currency": "EUR"}, typed)
    assert result.value["schema"] == "Sum"
    assert open_record(result.value, lambda _: parse_schema(text))[1] == {"sum": 3, "of": {"a": 1, "b": 2}}
    assert await modules.schema_text("0" * 16) is None


async def test_all_are_listed(modules: Modules, put: Put) -> None:
    put("acme/text/upper.py", FINE)
    put("apps/acme/modules/lower.py", FINE)
    assert await modules.uris() == ["acme/lower", "acme/text/upper", "spl/console/log", "spl/void/noop"]


async def test_a_file_cannot_take_the_place_of_a_built_in_module(modules: Modules, put: Put) -> None:
    put("spl/void/noop.py", FINE)
    assert (await modules.execute("spl/void/noop", {}, "x")).value == "x"
    assert (await modules.uris()).count("spl/void/noop") == 1


async def test_bad_names(modules: Modules) -> None:
    for uri in ("../../etc/passwd", "a/b/c/d", ""):
        with pytest.raises(ExecutionError) as caught:
            await modules.execute(uri, {}, None)
        assert caught.value.code == "INVALID_NAME"


async def test_a_closed_catalogue_starts_nothing(root: Path, put: Put, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    put("hangs.py", f"open({str(pipe)!r}, 'w').close()\nwhile True: pass\n")
    modules = Modules(root)
    running = asyncio.ensure_future(modules.execute("hangs", {}, None))
    await asyncio.to_thread(pipe.read_bytes)  # returns when the module is being loaded
    await modules.close()
    for refused in (running, modules.execute("hangs", {}, None)):
        with pytest.raises(CallError) as caught:
            await refused
        assert caught.value.code is Code.UNAVAILABLE


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no directory"):
        Modules(tmp_path / "missing")
