"""Nanoseconds to encode and to decode two records, for each codec. Prints one JSON object.

`small` is the request of the other benchmarks, `nested` the 30 fields of `nested.py`. From the parts (dicts, or
Structs) to bytes, and from bytes to an object whose parts can be read as attributes or keys. For protobuf that is
to build a message and serialise it, and to parse and read it, since its message is no plain value. Batches of all
codecs take turns; the median batch is quoted.

`resolution` is the nested record decoded for its own schema and for that of another program: how many times as long
that takes.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import nested
from benchmarks.structs import BytesRequest, ExecuteRequest
from benchmarks.workload import HEADERS, MODULE, value

AVPR = Path(__file__).parent / "peers" / "bench.avpr"
VALUE = value("small")
BATCH_S = 0.01
"""About how long a batch takes."""


@dataclass(frozen=True)
class Record:
    """What is encoded: a schema (JSON text), the value as dicts and as Structs, and as msgspec's own codecs want it."""

    name: str
    schema: str
    value: dict[str, Any]
    struct: msgspec.Struct
    packed: msgspec.Struct


def _records() -> tuple[Record, ...]:
    request = {"module": MODULE, "headers": HEADERS, "value": VALUE}
    schema = json.dumps(json.loads(AVPR.read_text())["types"][0])
    order = nested.as_struct()
    return (
        Record("small", schema, request, ExecuteRequest(**request), BytesRequest(**request)),
        Record("nested", json.dumps(nested.WRITER), nested.ORDER, order, order),
    )


RECORDS = _records()


@dataclass(frozen=True)
class Codec:
    """`encode` makes the bytes of the record from its parts, `decode` an object with those parts.

    `read` gives the parts of what was decoded as a dict, to check it by.
    """

    encode: Callable[[], bytes]
    decode: Callable[[bytes], Any]
    read: Callable[[Any], Mapping[str, Any]]


def splnode(engine: str, record: Record, *, structs: bool) -> Codec:
    """One of splnode's engines, to dicts or to Structs."""
    from splnode.avro.codec import encoder

    schema = _parsed(engine, record.schema)
    encode = encoder(schema, engine=engine).encode
    decode = _decode(engine, schema, schema, type(record.struct) if structs else None)
    if structs:
        return Codec(partial(encode, record.struct), decode, lambda got: _of_struct(got[0]))
    return Codec(partial(encode, record.value), decode, lambda got: _same(got[0]))


def _parsed(engine: str, schema: str) -> Any:
    from splnode.avro.builder import parse
    from splnode.avro.codec import engines

    if engine not in engines():
        raise ModuleNotFoundError(f"the {engine} engine was not built")
    return parse(schema)


def _decode(engine: str, writer: Any, reader: Any, into: Any) -> Callable[[bytes], Any]:
    from splnode.avro.codec import decoder

    return decoder(writer, reader, into=into, engine=engine).decode


def _same(got: dict[str, Any]) -> dict[str, Any]:
    return got


def _of_struct(got: msgspec.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(got, builtin_types=(bytes,))
    return plain


def fastavro(record: Record) -> Codec:
    """fastavro's schemaless writer and reader, in Cython."""
    import fastavro

    schema = fastavro.parse_schema(json.loads(record.schema))
    given = record.value

    def encode() -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, given)
        return out.getvalue()

    return Codec(encode, lambda data: fastavro.schemaless_reader(io.BytesIO(data), schema, None), _same)


def avro(record: Record) -> Codec:
    """Apache's avro package."""
    import avro.io
    import avro.schema

    schema = avro.schema.parse(record.schema)
    writer, reader, given = avro.io.DatumWriter(schema), avro.io.DatumReader(schema), record.value

    def encode() -> bytes:
        out = io.BytesIO()
        writer.write(given, avro.io.BinaryEncoder(out))
        return out.getvalue()

    return Codec(encode, lambda data: reader.read(avro.io.BinaryDecoder(io.BytesIO(data))), _same)


def msgpack(record: Record, *, structs: bool) -> Codec:
    """msgspec's MessagePack: the fastest codec of small records that a Python user can install."""
    encode = msgspec.msgpack.Encoder().encode
    if structs:
        return Codec(partial(encode, record.packed), msgspec.msgpack.Decoder(type(record.packed)).decode, _of_struct)
    return Codec(partial(encode, record.value), msgspec.msgpack.Decoder().decode, _same)


def protobuf(record: Record) -> Codec:
    """Google's protobuf (upb): build and serialise, parse and read."""
    from benchmarks.peers.generated import messages

    request = messages().ExecuteRequest
    module, headers, data = record.value.values()

    def encode() -> bytes:
        made: bytes = request(module=module, headers=headers, data=data).SerializeToString()
        return made

    def decode(data: bytes) -> dict[str, Any]:
        got = request.FromString(data)
        return {"module": got.module, "headers": dict(got.headers), "value": got.data}

    return Codec(encode, decode, _same)


CODECS: dict[str, tuple[Callable[[Record], Codec], str]] = {
    "splnode native, Structs": (partial(splnode, "native", structs=True), "pip install . (with a C compiler)"),
    "splnode native, dicts": (partial(splnode, "native", structs=False), "pip install . (with a C compiler)"),
    "splnode plain, Structs": (partial(splnode, "plain", structs=True), "pip install ."),
    "splnode plain, dicts": (partial(splnode, "plain", structs=False), "pip install ."),
    "msgspec.msgpack, Structs": (partial(msgpack, structs=True), "pip install msgspec"),
    "msgspec.msgpack, dicts": (partial(msgpack, structs=False), "pip install msgspec"),
    "protobuf": (protobuf, "pip install protobuf grpcio-tools"),
    "fastavro": (fastavro, "pip install fastavro"),
    "avro": (avro, "pip install avro"),
}
ONLY_SMALL = ("protobuf",)
"""These have no description of the nested record."""


class Timing:
    """A callable, how often to call it in a batch, and what the batches took."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.number = 1
        self.batches: list[float] = []
        while (took := self.batch()) < BATCH_S / 4:
            self.number = max(self.number * 2, int(self.number * BATCH_S / 2 / max(took, 1e-9)))
        self.batches.clear()

    def batch(self) -> float:
        """Seconds of one batch."""
        call, turns = self.call, range(self.number)
        start = time.perf_counter()
        for _ in turns:
            call()
        took = time.perf_counter() - start
        self.batches.append(took / self.number)
        return took

    @property
    def nanoseconds(self) -> float:
        return statistics.median(self.batches) * 1e9


Row = dict[str, Any]
Timed = tuple[Row, dict[str, Timing]]
"""What is known of a row beforehand, and its figures by name."""


def _made(failures: list[Row]) -> Iterator[Timed]:
    for record in RECORDS:
        for name, (make, how) in CODECS.items():
            if record.name != "small" and name in ONLY_SMALL:
                continue
            row: Row = {"record": record.name, "codec": name}
            try:
                codec = make(record)
                data = codec.encode()
                got = codec.read(codec.decode(data))
            except ModuleNotFoundError as error:
                failures.append(row | {"failed": f"not installed: {how} ({error})"})
            except Exception as error:  # noqa: BLE001 - one codec that fails must not hide the others
                failures.append(row | {"failed": f"failed: {type(error).__name__}: {error}"})
            else:
                if got == record.value:
                    decode = partial(codec.decode, data)
                    yield row | {"bytes": len(data)}, {"encode_ns": Timing(codec.encode), "decode_ns": Timing(decode)}
                else:
                    failures.append(row | {"failed": f"failed: it decoded {got!r}"})


def _resolving() -> Iterator[Timed]:
    """The nested record for its own schema and for another one, with each engine that is there."""
    from splnode.avro.codec import encoder, engines

    for engine in engines():
        writer, reader = (_parsed(engine, json.dumps(schema)) for schema in (nested.WRITER, nested.READER))
        data = encoder(writer).encode(nested.ORDER)
        for name, own, other in (("Structs", nested.Order, nested.Reader), ("dicts", None, None)):
            plain, resolved = _decode(engine, writer, writer, own), _decode(engine, writer, reader, other)
            calls = {"plain_ns": Timing(partial(plain, data)), "resolved_ns": Timing(partial(resolved, data))}
            yield {"codec": f"splnode {engine}, {name}"}, calls


def measure(seconds: float) -> dict[str, Any]:
    """Every codec with every record, in turns, for about so many seconds in all.

    `rows`: `record`, `codec`, and either `bytes`, `encode_ns`, `decode_ns` or `failed`, a text that begins with
    "failed" or "not installed". `resolution`: `codec`, `plain_ns`, `resolved_ns`.
    """
    failures: list[Row] = []
    rows, resolution = list(_made(failures)), list(_resolving())
    end = time.monotonic() + seconds
    first = True
    while first or time.monotonic() < end:
        first = False
        for _, timings in [*rows, *resolution]:
            for timing in timings.values():
                timing.batch()
    return {"rows": [*map(_figures, rows), *failures], "resolution": [*map(_figures, resolution)]}


def _figures(timed: Timed) -> Row:
    row, timings = timed
    return row | {name: timing.nanoseconds for name, timing in timings.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="how long in all (default: %(default)s)")
    print(json.dumps(measure(parser.parse_args().seconds)))
