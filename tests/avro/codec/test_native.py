"""What only the native engine can get wrong: memory, callbacks that interfere, and differences from the plain one.

What both must do is in test_engines.py.
"""

import _thread
import contextlib
import gc
import json
import os
import random
import signal
import sys
import threading
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from splnode.avro.codec import plain
from splnode.avro.codec.binding import bind
from splnode.avro.codec.plan import Branch, Op, ReadNode, WriteNode
from splnode.avro.resolution import read_plan, write_plan
from splnode.avro.schema import parse_schema
from splnode.errors import DataError, DecodeError, EncodeError, LimitExceeded, SchemaError
from splnode.limits import DEFAULT_LIMITS, Limits
from tests.avro.codec import arbitrary
from tests.require import require
from tests.wire.conftest import long

try:
    from splnode.avro.codec import _native
except ImportError:
    _native = None  # type: ignore[assignment]  # each test then skips

FUZZ = int(os.environ.get("SPLNODE_FUZZ", "20000"))
SMALL = Limits(message_bytes=2000, depth=9, nodes=300)


@pytest.fixture(autouse=True)
def native() -> None:
    require(_native is not None, "native", "a C compiler, and then pip install -e .")


def codec(source: Any, limits: Limits = DEFAULT_LIMITS) -> SimpleNamespace:
    """The native engine's three functions for a schema given as JSON, and its plans."""
    schema = parse_schema(json.dumps(source))
    write, read = write_plan(schema), read_plan(schema)
    return SimpleNamespace(
        write=write,
        read=read,
        encode=_native.Encoder(write, limits).encode,
        decode=_native.Decoder(read, limits).decode,
        conform=_native.Conformer(write, read, limits).conform,
    )


def record(*fields: tuple[str, Any], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": name, "type": kind} for name, kind in fields]}


POINT = record(("x", "int"), ("y", {"type": "array", "items": "string"}))


def into(source: Any, factory: type, *, positional: bool = False) -> Any:
    """The decoder of a record that is to become a Struct, its fields in the Struct's order."""
    node = read_plan(parse_schema(json.dumps(source)))
    node.factory, node.struct_names, node.positional = factory, factory.__struct_fields__, positional  # type: ignore[attr-defined]  # a Struct
    return _native.Decoder(node, DEFAULT_LIMITS)


# ---- the two engines say the same -----------------------------------------------------------------------


def outcome(function: Callable[..., Any], *args: Any) -> tuple[str, ...]:
    try:
        return ("value", repr(function(*args)))
    except DataError as error:
        return (type(error).__name__, error.path, error.reason)


def plans(rng: random.Random) -> Iterator[tuple[Any, WriteNode, ReadNode]]:
    """A random schema with its plans: read as itself, as some other, and into Structs."""
    source = arbitrary.Schemas(rng).any()
    for reader in (source, arbitrary.evolved(rng, source)):
        try:
            schema, other = parse_schema(json.dumps(source)), parse_schema(json.dumps(reader))
            read = read_plan(schema, other)
        except SchemaError:
            return
        yield schema, write_plan(schema), read
        with contextlib.suppress(SchemaError):
            yield schema, write_plan(schema), bind(read, arbitrary.Structs(rng).type_of(other))


def fuzz_once(rng: random.Random) -> int:
    """Some values, and many damaged encodings, through both engines. The number of comparisons made."""
    done = 0
    for schema, write, read in plans(rng):
        encode = [engine.Encoder(write, SMALL).encode for engine in (plain, _native)]
        decode = [engine.Decoder(read, SMALL).decode for engine in (plain, _native)]
        conform = [engine.Conformer(write, read, SMALL).conform for engine in (plain, _native)]
        for _ in range(6):
            value = arbitrary.value_of(rng, schema)
            with contextlib.suppress(DataError):
                value = conform[0](value) if rng.random() < 0.3 else value  # a Struct, maybe
            assert outcome(encode[0], value) == outcome(encode[1], value), value
            assert outcome(conform[0], value) == outcome(conform[1], value), value
            try:
                data = encode[0](value)
            except DataError:
                data = rng.randbytes(9)
            for broken in (data, *(arbitrary.damaged(rng, data) for _ in range(6))):
                assert outcome(decode[0], broken) == outcome(decode[1], broken), broken
            done += 9
    return done


def test_fuzz_both_engines_say_the_same() -> None:
    done, seed = 0, int(os.environ.get("SPLNODE_FUZZ_SEED", "0"))
    while done < FUZZ:
        seed += 1
        try:
            done += fuzz_once(random.Random(seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


# ---- buffers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_read_from_any_start(kind: Callable[[bytes], Any]) -> None:
    decode = codec(["null", "string"]).decode
    assert decode(kind(b"??\x02\x06abc!"), 2) == ("abc", 7)


def test_buffers_are_released_whatever_happens() -> None:
    decode = codec("string").decode
    data = bytearray(b"\x06abc")
    assert decode(data) == ("abc", 4)
    with pytest.raises(DecodeError):
        decode(data, 2)
    with pytest.raises(DecodeError):
        decode(data, 5)
    data += b"can be resized: nobody holds it"


def test_values_do_not_share_the_buffer() -> None:
    data = bytearray(b"\x06abc")
    value, _ = codec("bytes").decode(data)
    data[1] = 0
    assert value == b"abc"


@pytest.mark.parametrize("data", [memoryview(b"abcdef")[::2], "text", 5, None])
def test_what_is_no_contiguous_buffer_is_a_type_error(data: Any) -> None:
    with pytest.raises((TypeError, BufferError)):
        codec("bytes").decode(data)


@pytest.mark.parametrize("args", [(), (b"", 0, 0), (b"", "0"), (b"", 1.5)])
def test_wrong_arguments(args: Any) -> None:
    with pytest.raises(TypeError):
        codec("null").decode(*args)


@pytest.mark.parametrize("start", [-1, 4, sys.maxsize, -sys.maxsize])
def test_a_start_outside_of_the_data(start: int) -> None:
    with pytest.raises(DecodeError, match="lies outside of 3 bytes"):
        codec("null").decode(b"abc", start)


def test_bytes_like_values() -> None:
    encode = codec("bytes").encode
    for value in (b"ace", bytearray(b"ace"), memoryview(b"ace"), memoryview(b"abcde")[::2]):
        assert encode(value) == b"\x06ace"
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(EncodeError):
        encode(view)


# ---- callbacks that interfere ---------------------------------------------------------------------------


def meddling(source: Any, action: Callable[[Any], None]) -> SimpleNamespace:
    """A codec of an array or map of strings, each of which does something before it is written."""
    made = codec(source)

    def logical(value: Any) -> Any:
        action(value)
        return value

    item = WriteNode(Op.STRING, "string")
    item.logical = logical
    made.write.items = item
    encoder = _native.Encoder(made.write, DEFAULT_LIMITS)
    conformer = _native.Conformer(made.write, made.read, DEFAULT_LIMITS)
    return SimpleNamespace(encode=encoder.encode, conform=conformer.conform)


LIST = {"type": "array", "items": {"type": "string", "name": "unused"}}
DICT = {"type": "map", "values": {"type": "string", "name": "unused"}}


@pytest.mark.parametrize("change", [list.clear, lambda value: value.append("x"), lambda value: value.pop()])
@pytest.mark.parametrize("face", ["encode", "conform"])
def test_a_list_changed_while_it_is_encoded(change: Callable[[list[str]], None], face: str) -> None:
    value = ["a", "b", "c"]
    with pytest.raises(EncodeError, match="changed"):
        getattr(meddling(LIST, lambda item: change(value)), face)(value)


@pytest.mark.parametrize("face", ["encode", "conform"])
def test_a_dict_changed_while_it_is_encoded(face: str) -> None:
    def grow(item: str) -> None:
        value[f"{len(value)}"] = "new"

    def swap(item: str) -> None:
        for key in list(value):
            del value[key]
        value.update({f"{i}": "x" for i in range(50)})
        for i in range(47):
            del value[f"{i}"]

    def clear(item: str) -> None:
        value.clear()

    for change in (grow, swap, clear):
        value = {"a": "1", "b": "2", "c": "3"}
        with pytest.raises(EncodeError, match="changed"):
            getattr(meddling(DICT, change), face)(value)


def test_items_replaced_while_they_are_encoded() -> None:
    value = [f"item {i}" for i in range(20)]

    def replace(item: str) -> None:
        value[:] = [f"other {i}" for i in range(20)]

    assert meddling(LIST, replace).encode(value)


def test_an_encoder_used_within_itself() -> None:
    inner: list[bytes] = []

    def again(item: str) -> None:
        if item == "outer":
            inner.append(made.encode(["x" * 5000, "y"]))

    made = meddling(LIST, again)
    assert made.encode(["outer", "after"]) == b"\x04\x0aouter\x0aafter\x00"
    assert inner == [made.encode(["x" * 5000, "y"])]


def test_any_other_exception_passes_through_unchanged() -> None:
    def stop(item: str) -> None:
        raise KeyError("mine")

    for face in ("encode", "conform"):
        with pytest.raises(KeyError, match="mine"):
            getattr(meddling(LIST, stop), face)(["a"])


def test_an_interrupt_is_not_asked_whether_the_value_can_be_written() -> None:
    asked: list[str] = []

    def interrupt(item: str) -> None:
        asked.append(item)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        meddling(LIST, interrupt).conform(["a"])
    assert asked == ["a"]


def test_keys_that_run_code_when_compared() -> None:
    class Key(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            value.clear()
            return False

    value: dict[Any, Any] = {Key("x"): 1, Key("y"): []}
    with pytest.raises(EncodeError):
        codec(POINT).encode(value)


def test_subclasses_of_dict_and_list_are_what_they_say() -> None:
    class Reversed(list[int]):
        def __iter__(self) -> Iterator[int]:
            return reversed(range(3))

    ordered = OrderedDict(a=1, b=2)
    ordered.move_to_end("a")
    assert codec({"type": "map", "values": "int"}).encode(ordered) == b"\x04\x02b\x04\x02a\x02\x00"
    assert codec({"type": "array", "items": "int"}).encode(Reversed([7, 8, 9])) == b"\x06\x04\x02\x00\x00"
    with pytest.raises(EncodeError, match="missing"):
        codec(POINT).encode(defaultdict(int))


# ---- Structs --------------------------------------------------------------------------------------------


class Point(msgspec.Struct):
    x: int
    y: list[str]


class Checked(msgspec.Struct):
    x: int
    y: list[str]

    def __post_init__(self) -> None:
        if self.x > 9:
            raise ValueError("x is above 9")


class Defaulted(msgspec.Struct, kw_only=True, frozen=True, cache_hash=True):
    x: int
    y: list[str]
    z: str = "default"


class Plain(msgspec.Struct, gc=False):
    x: int
    y: list[str]


@pytest.mark.parametrize("positional", [True, False])
@pytest.mark.parametrize("factory", [Point, Checked, Plain])
def test_structs_are_filled(factory: Any, positional: bool) -> None:
    decoder = into(POINT, factory, positional=positional)
    value, end = decoder.decode(b"\x06\x02\x02a\x00")
    assert type(value) is factory
    assert (value, end) == (factory(3, ["a"]), 5)
    assert codec(POINT).encode(value) == b"\x06\x02\x02a\x00"
    value.x = value  # its own garbage, for the collector
    del value
    gc.collect()


def test_a_struct_with_more_fields_than_the_record() -> None:
    node = read_plan(parse_schema(json.dumps(POINT)))
    node.factory, node.struct_names = Defaulted, ("x", "y")
    value, _ = _native.Decoder(node, DEFAULT_LIMITS).decode(b"\x06\x00")
    assert value == Defaulted(x=3, y=[])
    assert value.z == "default"


def test_what_post_init_refuses_is_bad_data_with_its_path() -> None:
    outer = codec(record(("list", {"type": "array", "items": POINT}), name="Outer"))
    outer.read.steps[0][1].items.factory = Checked
    outer.read.steps[0][1].items.struct_names = ("x", "y")
    with pytest.raises(DecodeError, match=r"^list\[1\]: x is above 9$"):
        _native.Decoder(outer.read, DEFAULT_LIMITS).decode(b"\x04\x02\x00\x14\x00\x00")


def test_a_struct_is_tracked_by_the_collector_where_it_must_be() -> None:
    assert gc.is_tracked(into(POINT, Point).decode(b"\x06\x00")[0])
    number = msgspec.defstruct("Number", [("x", int)])
    assert not gc.is_tracked(into(record(("x", "int")), number).decode(b"\x06")[0])


def test_structs_of_several_classes_in_one_record() -> None:
    renamed = msgspec.defstruct("Renamed", [("one", int), ("two", list)], rename={"one": "x", "two": "y"})
    encode = codec({"type": "array", "items": POINT}).encode
    values = [Point(1, []), renamed(2, []), Checked(3, []), Defaulted(x=4, y=[]), {"x": 5, "y": []}] * 3
    assert encode(values) == b"\x1e" + b"\x02\x00\x04\x00\x06\x00\x08\x00\x0a\x00" * 3 + b"\x00"


def test_a_struct_whose_fields_change_its_record_while_it_is_encoded() -> None:
    """A recursive record given as two classes in turn: what is known of one must not be used on the other."""
    node = {"type": "record", "name": "Node", "fields": [
        {"name": "next", "type": ["null", "Node"]}, {"name": "x", "type": "int"}]}  # fmt: skip
    left = msgspec.defstruct("Node", [("next", Any), ("x", int)])
    right = msgspec.defstruct("Node", [("x", int), ("a", int, 0), ("b", int, 0), ("next", Any, None)])
    value = left(right(1, next=left(right(2), 3)), 4)
    assert codec(node).encode(value) == b"\x02\x02\x02\x00\x04\x06\x02\x08"


def test_a_struct_with_an_attribute_never_set() -> None:
    value = Point(1, [])
    del value.y
    with pytest.raises(EncodeError, match=r"^y: the field is missing$"):
        codec(POINT).encode(value)


def test_a_property_in_the_place_of_a_field() -> None:
    class Lazy(Point):
        @property
        def x(self) -> int:  # type: ignore[override]  # the point of the test
            return 7

    assert codec(POINT).encode(Lazy(1, [])) == b"\x0e\x00"


def test_structs_in_a_union_are_chosen_once_a_class() -> None:
    union = codec([record(("x", "int"), name="A"), record(("x", "int"), name="B")])
    classes = {name: msgspec.defstruct(name, [("x", int)]) for name in ("A", "B")}
    for name in "ABABA":
        assert union.encode(classes[name](1)) == bytes([2 * (name == "B"), 2])
    for i in range(200):  # more classes than are remembered
        assert union.encode(msgspec.defstruct(f"C{i}", [("x", int)])(1)) == b"\x00\x02"


# ---- memory ---------------------------------------------------------------------------------------------


def growth(action: Callable[[], None]) -> int:
    """Blocks of memory that a hundred runs leave behind; the least of some tries, since Python keeps some itself."""
    least = sys.maxsize
    for _ in range(4):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(100):
            action()
        gc.collect()
        least = min(least, sys.getallocatedblocks() - before)
    return least


def test_nothing_is_left_behind() -> None:
    rng = random.Random(5)
    cases = []
    while len(cases) < 40:
        for schema, write, read in plans(rng):
            values = [arbitrary.value_of(rng, schema) for _ in range(4)]
            encoder, decoder = _native.Encoder(write, SMALL), _native.Decoder(read, SMALL)
            data = [encoder.encode(value) for value in values if outcome(encoder.encode, value)[0] == "value"]
            broken = [arbitrary.damaged(rng, each) for each in data for _ in range(5)]
            cases.append((encoder, decoder, _native.Conformer(write, read, SMALL), values, data + broken))

    def run() -> None:
        for encoder, decoder, conformer, values, data in cases:
            for value in values:
                outcome(encoder.encode, value)
                outcome(conformer.conform, value)
            for each in data:
                outcome(decoder.decode, each)

    assert growth(run) < 50


def test_codecs_are_freed_also_by_the_collector() -> None:
    class Mark:
        pass

    def make() -> "weakref.ref[Mark]":
        mark = Mark()
        write, read = WriteNode(Op.LONG, "long"), ReadNode(Op.LONG, "long")
        read.logical = write.logical = lambda value: (value, holder, mark)[0]
        holder = [_native.Encoder(write, SMALL), _native.Decoder(read, SMALL), _native.Conformer(write, read, SMALL)]
        return weakref.ref(mark)

    marks = [make() for _ in range(10)]
    gc.collect()
    assert not any(mark() for mark in marks)


def test_a_struct_class_does_not_live_by_the_encoder_that_it_holds() -> None:
    def make() -> "weakref.ref[type]":
        made = codec(POINT)
        own = type("Own", (Point,), {"__annotations__": {}})
        own.encode = made.encode  # type: ignore[attr-defined]  # a cycle through the class
        own.encode(own(1, []))  # type: ignore[attr-defined]
        return weakref.ref(own)

    mark = make()
    gc.collect()
    assert mark() is None


def test_the_collector_may_come_at_any_time() -> None:
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for seed in range(40):
            fuzz_once(random.Random(seed))
    finally:
        gc.set_threshold(*before)


def test_a_plan_that_cannot_be_compiled_leaves_nothing() -> None:
    node = read_plan(parse_schema(json.dumps(record(("x", "int"), ("y", "string"), name="Once"))))
    node.defaults = ((7, list),)

    def run() -> None:
        with pytest.raises(ValueError, match="place"):
            _native.Decoder(node, SMALL)

    assert growth(run) < 20


def test_threads_share_a_codec() -> None:
    made = codec(POINT)
    data = made.encode({"x": 1, "y": ["a"] * 9})
    errors = []

    def work() -> None:
        for _ in range(2000):
            if (
                made.decode(data)[0] != made.conform({"x": 1, "y": ["a"] * 9})
                or made.encode(made.decode(data)[0]) != data
            ):
                errors.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


# ---- plans ----------------------------------------------------------------------------------------------


def test_a_long_chain_of_types_is_compiled_without_recursion() -> None:
    write, read = WriteNode(Op.NULL, "null"), ReadNode(Op.NULL, "null")
    for _ in range(100_000):
        outer = WriteNode(Op.ARRAY, "array"), ReadNode(Op.ARRAY, "array")
        outer[0].items, outer[1].items = write, read
        write, read = outer
    assert _native.Encoder(write, SMALL).encode([]) == b"\x00"
    assert _native.Decoder(read, SMALL).decode(b"\x00") == ([], 1)
    assert _native.Conformer(write, read, SMALL).conform([]) == []
    while write.items is not None and read.items is not None:  # or Python frees it recursively
        write, read = write.items, read.items


def test_the_stack_ends_before_a_careless_limit_does() -> None:
    made = codec(
        {"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}, Limits(depth=10**6)
    )
    with pytest.raises(LimitExceeded, match="depth"):
        made.decode(b"\x02" * 900_000)
    value: Any = None
    for _ in range(50_000):
        value = {"next": value}
    for face in (made.encode, made.conform):
        with pytest.raises(LimitExceeded, match="depth"):
            face(value)


def test_a_value_that_holds_itself() -> None:
    value: list[Any] = []
    value.append(Branch("array", value))
    made = codec({"type": "array", "items": ["null", {"type": "array", "items": "null"}]})
    made.write.items.branches[1].items = made.write.items
    with pytest.raises(LimitExceeded, match="depth"):
        _native.Encoder(made.write, DEFAULT_LIMITS).encode(value)


def bent(node: Any, **attributes: Any) -> Any:
    for name, value in attributes.items():
        setattr(node, name, value)
    return node


@pytest.mark.parametrize(
    "node",
    [
        None,
        ReadNode(99),  # type: ignore[arg-type]
        ReadNode(Op.ARRAY),
        bent(ReadNode(Op.UNION), branches=[ReadNode(Op.NULL)]),
        bent(ReadNode(Op.UNION), branches=(ReadNode(Op.UNION),)),
        bent(ReadNode(Op.RECORD), steps=(("x", ReadNode(Op.NULL)),), names=("x",)),
        bent(ReadNode(Op.RECORD), steps=(("x", ReadNode(Op.NULL), 1),), names=("x",)),
        bent(ReadNode(Op.RECORD), steps=(("x", ReadNode(Op.NULL), -2),), names=("x",)),
        bent(ReadNode(Op.RECORD), steps=(("x", None, 0),), names=("x",)),
        bent(ReadNode(Op.RECORD), steps=((5, ReadNode(Op.NULL), 0),), names=("x",)),
        bent(ReadNode(Op.RECORD), names=("x",)),
        bent(ReadNode(Op.RECORD), defaults=((0, list),)),
        bent(ReadNode(Op.FIXED), size=-1),
        bent(ReadNode(Op.FIXED), size=2**70),
        bent(ReadNode(Op.ENUM), symbols=None),
    ],
)
def test_a_plan_that_is_none_is_refused(node: Any) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError, OverflowError)):
        _native.Decoder(node, SMALL)


def test_plans_of_different_writers_do_not_conform() -> None:
    other = read_plan(parse_schema(json.dumps(record(("x", "int"), name="Other"))))
    with pytest.raises(ValueError, match="same writer"):
        _native.Conformer(codec(POINT).write, other, SMALL)


def test_the_value_is_checked_as_written_before_it_is_read() -> None:
    """A fault of the reader's side counts only where the whole value can be written."""
    writer = parse_schema(json.dumps(record(("a", ["int", "string"]), ("b", "int"), name="W")))
    reader = parse_schema(json.dumps(record(("a", "int"), ("b", "int"), name="W")))
    conform = _native.Conformer(write_plan(writer), read_plan(writer, reader), SMALL).conform
    assert conform({"a": 1, "b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(DecodeError):
        conform({"a": "text", "b": 2})
    with pytest.raises(EncodeError, match=r"^b: int expected"):
        conform({"a": "text", "b": "text"})


def test_recent_strings_are_told_apart() -> None:
    decode = codec({"type": "array", "items": "string"}).decode
    encode = codec({"type": "array", "items": "string"}).encode
    words = [f"{i:0{width}}" for i in range(3000) for width in (2, 7, 8, 9, 16, 31, 38, 39, 40)]
    words += [f"{i:03}" + "é" * more for i in range(999) for more in (1, 3, 18, 19)]
    for _ in range(2):
        for start in range(0, len(words), 500):
            part = words[start : start + 500]
            assert decode(encode(part))[0] == part


def test_others_have_their_turn_while_a_large_datum_is_read() -> None:
    """A signal's handler is run where other threads would be: behind some items, and before the last of them."""

    class Stop(Exception):
        pass

    def stop(number: int, frame: object) -> None:
        raise Stop

    count, marks = 20_000, list[int]()
    pairs = {"type": "record", "name": "P", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "long"}]}
    plan = read_plan(parse_schema(json.dumps({"type": "array", "items": pairs})))
    assert plan.items is not None
    # Functions of Python's would let others run too; this one does nothing of a signal that nobody handles
    plan.items.steps[0][1].logical = _thread.interrupt_main
    plan.items.steps[1][1].logical = marks.append
    rest = long(signal.SIGUSR2) + b"\0"
    data = long(count) + long(signal.SIGUSR1) + b"\0" + rest * (count - 1) + b"\0"
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(Stop):
            _native.Decoder(plan, DEFAULT_LIMITS).decode(data)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert 0 < len(marks) < count
