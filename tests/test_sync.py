"""splnode.sync: the calls of the library without a loop, over everything that it speaks."""

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import splnode
from splnode.errors import CallError, Code, EncodeError, LimitExceeded, LocalWireError
from splnode.limits import Limits
from splnode.sync import Client, connect
from tests.background import PATIENCE, Peer, background, greet, hold, read_frame
from tests.daemon import Daemon
from tests.rpc.conftest import PROTOCOL, Inventory, Item, OutOfStock

WAYS = ("tcp", "unix", "spec", "sasl", "http")


class Served:
    """An Inventory, how to connect to it, and how to run a coroutine where it is served."""

    def __init__(self, endpoint: str, inventory: Inventory, run: Callable[..., Any], way: str) -> None:
        self.endpoint = endpoint
        self.inventory = inventory
        self.run = run
        self.way = way

    @contextlib.contextmanager
    def client(self, **options: Any) -> Iterator[Client]:
        with connect(self.endpoint, PROTOCOL, errors=[OutOfStock], **{"timeout": 10, **options}) as client:
            yield client


@contextlib.contextmanager
def serving(way: str, directory: Path) -> Iterator[Served]:
    @asynccontextmanager
    async def opening() -> AsyncIterator[tuple[str, Inventory]]:
        inventory = Inventory()
        endpoint = f"unix://{directory}/s" if way == "unix" else "tcp://127.0.0.1:0"
        async with splnode.listen([endpoint], {PROTOCOL: inventory}) as listening:
            where = str(listening.endpoints[0])
            if way == "http":
                where = where.replace("tcp://", "http+avro://") + "/com.acme.Inventory"
            elif way in ("spec", "sasl"):
                where += f"?framing={way}"
            yield where, inventory

    with background(opening) as ((where, inventory), run):
        yield Served(where, inventory, run, way)


@pytest.fixture(params=WAYS)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    with serving(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Served]:
    with serving("tcp", tmp_path) as found:
        yield found


def test_calls_by_name_by_position_and_by_call(served: Served) -> None:
    with served.client() as client:
        assert client.add(a=1, b=2) == 3
        assert client.add(1) == 41
        assert client.add(1, b=2) == 3
        assert client.call("add", {"a": 5}) == 45
        assert client.echo(value={"x": 1}) == {"x": 1}
        assert client.reserve(item={"sku": "A1", "count": 2}) == {"sku": "A1", "count": 2, "tags": ["reserved"]}
        assert client.protocol is PROTOCOL
        assert client.add.__name__ == "add"


def test_results_are_the_types_that_are_asked_for(served: Served) -> None:
    with served.client(results={"reserve": Item}) as client:
        assert client.reserve(item=Item("A1")) == Item("A1", 1, ["reserved"])


def test_errors_are_those_of_the_library(served: Served) -> None:
    with served.client() as client:
        with pytest.raises(OutOfStock) as declared:
            client.reserve(item={"sku": "A1", "count": 11})
        assert (declared.value.sku, declared.value.left) == ("A1", 10)
        with pytest.raises(CallError, match="no such thing") as failed:
            client.fail(how="code")
        assert (failed.value.code, failed.value.remote, failed.value.retry_after) == (Code.NOT_FOUND, True, 1.5)
        with pytest.raises(CallError, match="internal error") as failed:
            client.fail(how="exception")
        assert (failed.value.code, failed.value.remote) == (Code.INTERNAL, True)
        with pytest.raises(EncodeError, match="a: "):
            client.add(a="one")
        with pytest.raises(AttributeError, match="no message 'subtract'"):
            client.subtract(a=1)
        with pytest.raises(CallError, match="no message 'subtract'") as failed:
            client.call("subtract")
        assert (failed.value.code, failed.value.started) == (Code.UNIMPLEMENTED, False)
        with pytest.raises(TypeError, match="3 were given"):
            client.add(1, 2, 3)
        assert client.add(1, 2) == 3


def test_metadata_goes_and_comes(served: Served) -> None:
    with served.client() as client:
        assert client.call("seen", metadata={"tenant": b"blue"}) == {"tenant": b"blue"}
        call = client.prepare("seen", metadata={"tenant": b"red"})
        assert client.send(call) == {"tenant": b"red"}
        assert call.answer_metadata["answered"] == b"yes"


def test_the_deadline_travels_and_is_the_nearest(served: Served) -> None:
    with served.client(timeout=70) as client:
        assert 45 < client.remaining() <= 70
        assert 25 < client.call("remaining", timeout=40) <= 40
        with splnode.deadline(20):
            assert 5 < client.call("remaining", timeout=40) <= 20
        with pytest.raises(CallError) as failed:
            client.call("add", {"a": 1}, timeout=0)
    assert (failed.value.code, failed.value.started) == (Code.DEADLINE_EXCEEDED, False)


def test_the_default_deadline_is_30_seconds(local: Served) -> None:
    with connect(local.endpoint, PROTOCOL) as client:
        assert 15 < client.remaining() <= 30


def test_at_its_deadline_a_call_ends_and_the_server_is_told(served: Served) -> None:
    inventory = served.inventory
    with served.client() as client:
        with pytest.raises(CallError, match="wait: no answer before the deadline") as failed:
            client.call("wait", {"name": "a"}, timeout=0.2)
        assert failed.value.code is Code.DEADLINE_EXCEEDED
        served.run(inventory.cancelled.wait())
        assert client.add(1, 2) == 3


def test_a_one_way_message(served: Served) -> None:
    with served.client() as client:
        assert client.tell(text="hello") is None
        assert client.add(1, 2) == 3
        served.run(inventory_heard(served.inventory))
    assert served.inventory.told == ["hello"]


async def inventory_heard(inventory: Inventory) -> None:
    await inventory.heard.wait()


@pytest.mark.parametrize("size", [100, 20_000, 300_000, 3_000_000])
def test_large_values(served: Served, size: int) -> None:
    value = os.urandom(size)
    with served.client() as client:
        assert client.echo(value=value) == value


def test_more_than_may_be_sent(served: Served) -> None:
    with served.client(limits=Limits(message_bytes=1000)) as client:
        with pytest.raises(LimitExceeded, match="message_bytes"):
            client.echo(value=bytes(2000))
        assert client.add(1, 2) == 3


def test_nobody_there(tmp_path: Path) -> None:
    with Peer() as gone:
        nobody = gone.endpoint
    for endpoint, text in ((nobody, "connection refused"), (f"unix://{tmp_path}/none", "no such socket file")):
        with pytest.raises(CallError, match=f"cannot connect to {endpoint}: {text}") as failed:
            with connect(endpoint, PROTOCOL):
                pass
        assert (failed.value.code, failed.value.started) == (Code.UNAVAILABLE, False)


def test_a_shipped_protocol_by_its_name() -> None:
    with Peer() as gone, pytest.raises(CallError):
        with connect(gone.endpoint, "SPLDataService", connect_timeout=0.01):
            pass


def test_a_closed_client_connects_again(served: Served) -> None:
    with served.client() as client:
        client.close()
        assert client.add(1, 2) == 3


def test_threads_take_turns(served: Served) -> None:
    found: list[int] = []
    with served.client() as client:
        threads = [threading.Thread(target=lambda n=n: found.append(client.add(n, 0))) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert sorted(found) == list(range(20))


def test_who_waits_for_its_turn_has_a_deadline(local: Served) -> None:
    ended: list[object] = []
    with local.client() as client:
        thread = threading.Thread(target=lambda: ended.append(client.wait(name="a")))
        thread.start()
        local.run(local.inventory.began.wait())
        with pytest.raises(CallError, match="another thread's call") as failed:
            client.call("add", {"a": 1}, timeout=0.05)
        assert (failed.value.code, failed.value.started) == (Code.DEADLINE_EXCEEDED, False)
        local.run(answer_waiting(local.inventory, "a", "done"))
        thread.join(PATIENCE)
        assert client.add(1, 2) == 3
    assert ended == ["done"]


async def answer_waiting(inventory: Inventory, name: str, value: str) -> None:
    inventory.waiting[name].set_result(value)


class Interrupt(Exception):
    pass


@contextlib.contextmanager
def interrupted(action: Callable[[], object], seconds: float = 0.1) -> Iterator[None]:
    """A signal in a moment, which runs `action` in the middle of what the main thread does."""
    before = signal.signal(signal.SIGALRM, lambda *_: action())
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ctrl_c() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_leaves_it_usable_and_cancels_the_call(served: Served) -> None:
    with served.client() as client:
        with interrupted(ctrl_c), pytest.raises(KeyboardInterrupt):
            client.wait(name="a")
        served.run(served.inventory.cancelled.wait())
        assert client.add(1, 2) == 3


def test_a_signal_that_only_interrupts_changes_nothing(local: Served) -> None:
    def answered() -> None:
        threading.Thread(target=lambda: local.run(answer_waiting(local.inventory, "a", "done"))).start()

    with local.client() as client, interrupted(answered):
        assert client.wait(name="a") == "done"


def test_many_signals_do_not_move_the_deadline(local: Served) -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        with local.client() as client, pytest.raises(CallError) as failed:
            client.call("wait", {"name": "a"}, timeout=0.5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert failed.value.code is Code.DEADLINE_EXCEEDED
    assert seen


def test_a_call_within_a_call_of_the_same_thread_is_refused(local: Served) -> None:
    said: list[str] = []
    with local.client() as client:

        def again() -> None:
            for within in (lambda: client.add(1, 2), client.close):
                try:
                    within()
                except LocalWireError as error:
                    said.append(str(error))
            threading.Thread(target=lambda: local.run(answer_waiting(local.inventory, "a", "done"))).start()

        with interrupted(again):
            assert client.wait(name="a") == "done"
    assert len(said) == 2


def test_a_forked_process_is_refused_and_harms_nothing(local: Served) -> None:
    with local.client() as client:
        assert client.add(1, 2) == 3
        child = os.fork()
        if not child:
            try:
                try:
                    client.add(1, 2)
                except LocalWireError as error:
                    code = 7 if "forked" in str(error) else 1
                client.close()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        assert client.add(1, 2) == 3


def test_a_server_that_was_started_anew_is_called_again(tmp_path: Path) -> None:
    with serving("unix", tmp_path) as served:
        manager = served.client()
        client = manager.__enter__()
        assert client.add(1, 2) == 3
    with serving("unix", tmp_path):
        assert client.add(1, 2) == 3
        manager.__exit__(None, None, None)


async def test_a_node_that_is_killed_and_started_again(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "node") as node:
        with splnode.sync.connect(node.unix, "splnode.Health", timeout=10) as health:
            assert (await asyncio.to_thread(health.check, service=""))["status"] == "SERVING"
            await node.kill()
            with pytest.raises(CallError) as failed:
                await asyncio.to_thread(health.check, service="")
            assert (failed.value.code, failed.value.started) == (Code.UNAVAILABLE, False)
            await node.start()
            assert (await asyncio.to_thread(health.check, service=""))["status"] == "SERVING"


def test_a_connection_that_breaks_under_a_call() -> None:
    def closing(connected: Any) -> None:
        greet(connected)
        read_frame(connected)

    with Peer(closing, hold) as peer, connect(peer.endpoint, PROTOCOL) as client:
        with pytest.raises(CallError, match="the peer closed the connection; the call may have run") as failed:
            client.add(1, 2)
        assert (failed.value.code, failed.value.started) == (Code.UNAVAILABLE, True)
        assert peer.accepted == 1


def test_what_is_kept_of_many_calls_is_nothing(local: Served) -> None:
    failures = (CallError, EncodeError, OutOfStock)
    with local.client() as client:

        def some(count: int) -> None:
            for number in range(count):
                assert client.add(number, b=number) == 2 * number
                for way in (
                    lambda: client.reserve(item={"sku": "A1", "count": 11}),
                    lambda: client.fail(how="code"),
                    lambda: client.add(a="x", b=1),
                    lambda: client.call("add", {"a": 1}, timeout=0),
                ):
                    with pytest.raises(failures):
                        way()

        some(50)
        gc.collect()
        before = len(gc.get_objects())
        some(200)
        gc.collect()
        assert len(gc.get_objects()) - before < 100


def test_a_client_that_nobody_has_any_more_is_gone(local: Served) -> None:
    with local.client() as client:
        assert client.add(1, 2) == 3
        method, found = client.add, weakref.ref(client)
        assert method(1, b=3) == 4
    del client, method
    gc.collect()
    assert found() is None


def test_a_value_with_code_of_its_own_cannot_call_within_the_call(local: Served) -> None:
    with local.client() as client:

        class Sneaky(dict[str, object]):
            def __iter__(self) -> Iterator[str]:
                raise AssertionError("read")

            def items(self) -> Any:
                with contextlib.suppress(LocalWireError):
                    client.add(1, 2)
                return super().items()

        assert client.add(1, 2) == 3
        with contextlib.suppress(AssertionError):
            client.echo(value=Sneaky(x=1))
        assert client.add(1, 2) == 3


def test_unusual_arguments_take_the_general_way(local: Served) -> None:
    with local.client() as client:
        name = "".join(["a", "b"])[:1] + ""
        assert client.add(**{name: 1, "b": 2}) == 3
        for args, params in (((1, 2), {"b": 3}), ((1,), {"c": 2}), ((), {"b": 2})):
            with pytest.raises((TypeError, EncodeError)):
                client.add(*args, **params)
        assert client.add(1, 2) == 3


SUM = b"\0\0\x06"
WITH_METADATA = b"\x02\x02k\x02v\0\0\x06"


def framed(serial: int, body: bytes) -> bytes:
    return serial.to_bytes(4) + (1).to_bytes(4) + len(body).to_bytes(4) + body


def in_two(serial: int) -> list[bytes]:
    whole = framed(serial, SUM)
    return [whole[:7], whole[7:]]


ANSWERS: dict[str, Callable[[int], list[bytes]]] = {
    "plain": lambda serial: [framed(serial, SUM)],
    "in two pieces": in_two,
    "with metadata": lambda serial: [framed(serial, WITH_METADATA)],
    "in two buffers": lambda serial: [serial.to_bytes(4), (2).to_bytes(4), b"\0\0\0\x01\0", b"\0\0\0\x02\0\x06"],
    "behind a late one": lambda serial: [framed(0, SUM) + framed(serial, SUM)],
    "before what nobody asked for": lambda serial: [framed(serial, SUM) + framed(0, SUM)],
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answers_however_they_come(answer: Callable[[int], list[bytes]]) -> None:
    def script(connected: Any) -> None:
        greet(connected)
        for _ in range(3):
            serial, _ = read_frame(connected)
            for piece in answer(serial):
                connected.sendall(piece)
        hold(connected)

    with Peer(script) as peer, connect(peer.endpoint, PROTOCOL) as client:
        assert [client.add(1, 2) for _ in range(3)] == [3, 3, 3]
        assert peer.accepted == 1


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        (b"\0\0\x06\0", Code.INTERNAL, "1 bytes too many"),
        (b"\0\0", Code.INTERNAL, "cannot be read"),
        (b"\0\x01\0\x04no", Code.UNKNOWN, "no"),
        (b"\0\x07", Code.UNAVAILABLE, "error flag .*; the call may have run"),
        (b"", Code.UNAVAILABLE, "the call may have run"),
    ],
)
def test_answers_that_are_none(body: bytes, error: Code, text: str) -> None:
    def script(connected: Any) -> None:
        greet(connected)
        serial, _ = read_frame(connected)
        connected.sendall(framed(serial, body))
        good(connected)

    def good(connected: Any) -> None:
        serial, _ = read_frame(connected)
        connected.sendall(framed(serial, SUM))
        hold(connected)

    def anew(connected: Any) -> None:
        greet(connected)
        good(connected)

    with Peer(script, anew) as peer, connect(peer.endpoint, PROTOCOL) as client:
        with pytest.raises(CallError, match=text) as failed:
            client.add(1, 2)
        assert failed.value.code is error
        assert client.add(1, 2) == 3


def test_a_connection_that_was_closed_between_two_calls_is_replaced() -> None:
    def once(connected: Any) -> None:
        greet(connected)
        serial, _ = read_frame(connected)
        connected.sendall(framed(serial, SUM))

    with Peer(once, once, once) as peer, connect(peer.endpoint, PROTOCOL) as client:
        for count in (1, 2, 3):
            assert client.add(1, 2) == 3
            peer.closed.wait(PATIENCE)
            peer.closed.clear()
            assert peer.accepted == count


def test_it_imports_no_loop_and_no_threads() -> None:
    program = (
        "import sys, splnode\n"
        "try:\n"
        "    with splnode.sync.connect('tcp://127.0.0.1:1', 'SPLDataService'): pass\n"
        "except splnode.CallError: pass\n"
        "heavy = {'asyncio', 'uvloop', 'structlog', 'msgspec', 'threading', 'concurrent', 'h11', 'ssl', 'logging'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
