"""Nanoseconds to encode and to decode the small request, for each codec. Prints one JSON object.

From the parts (module, headers, value) to bytes, and from bytes to an object whose parts can be read as
attributes or keys. For protobuf that is to build a message and serialise it, and to parse and read it, since its
message is no plain value. Batches of all codecs take turns; the median batch is quoted.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.structs import BytesRequest, ExecuteRequest
from benchmarks.workload import HEADERS, MODULE, value

AVPR = Path(__file__).parent / "peers" / "bench.avpr"
NAME = "org.splnode.bench.ExecuteRequest"
VALUE = value("small")
BATCH_S = 0.01
"""About how long a batch takes."""


@dataclass(frozen=True)
class Codec:
    """`encode` makes the bytes of the request from its parts, `decode` an object with those parts.

    `read` gives module, headers and value of what was decoded, to check it by.
    """

    name: str
    encode: Callable[[], bytes]
    decode: Callable[[bytes], Any]
    read: Callable[[Any], tuple[object, ...]]


def _as_dict() -> dict[str, Any]:
    return {"module": MODULE, "headers": HEADERS, "value": VALUE}


def _of_dict(got: Any) -> tuple[object, ...]:
    return got["module"], got["headers"], got["value"]


def _of_object(got: Any) -> tuple[object, ...]:
    return got.module, got.headers, got.value


def splnode(engine: str, *, structs: bool) -> Codec:
    """One of splnode's engines, to dicts or to Structs."""
    from splnode.avro.codec import decoder, encoder, engines
    from splnode.avro.protocol import Protocol

    if engine not in engines():
        raise ModuleNotFoundError(f"the {engine} engine was not built")
    schema = Protocol.load(AVPR).types[NAME]
    encode = encoder(schema, engine=engine).encode
    decode = decoder(schema, into=ExecuteRequest if structs else None, engine=engine).decode
    if structs:
        request = ExecuteRequest(MODULE, HEADERS, VALUE)
        return Codec(f"splnode {engine}, Structs", partial(encode, request), decode, lambda got: _of_object(got[0]))
    return Codec(f"splnode {engine}, dicts", partial(encode, _as_dict()), decode, lambda got: _of_dict(got[0]))


def fastavro() -> Codec:
    """fastavro's schemaless writer and reader, in Cython."""
    import fastavro

    schema = fastavro.parse_schema(json.loads(AVPR.read_text())["types"][0])
    given = _as_dict()

    def encode() -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, given)
        return out.getvalue()

    return Codec("fastavro", encode, lambda data: fastavro.schemaless_reader(io.BytesIO(data), schema, None), _of_dict)


def avro() -> Codec:
    """Apache's avro package."""
    import avro.io
    import avro.schema

    schema = avro.schema.parse(json.dumps(json.loads(AVPR.read_text())["types"][0]))
    writer, reader, given = avro.io.DatumWriter(schema), avro.io.DatumReader(schema), _as_dict()

    def encode() -> bytes:
        out = io.BytesIO()
        writer.write(given, avro.io.BinaryEncoder(out))
        return out.getvalue()

    return Codec("avro", encode, lambda data: reader.read(avro.io.BinaryDecoder(io.BytesIO(data))), _of_dict)


def msgpack(*, structs: bool) -> Codec:
    """msgspec's MessagePack: the fastest codec of small records that a Python user can install."""
    import msgspec

    encode = msgspec.msgpack.Encoder().encode
    if structs:
        request = BytesRequest(MODULE, HEADERS, VALUE)
        decode = msgspec.msgpack.Decoder(BytesRequest).decode
        return Codec("msgspec.msgpack, Structs", partial(encode, request), decode, _of_object)
    return Codec("msgspec.msgpack, dicts", partial(encode, _as_dict()), msgspec.msgpack.Decoder().decode, _of_dict)


def protobuf() -> Codec:
    """Google's protobuf (upb): build and serialise, parse and read."""
    from benchmarks.peers.generated import messages

    request = messages().ExecuteRequest

    def encode() -> bytes:
        data: bytes = request(module=MODULE, headers=HEADERS, data=VALUE).SerializeToString()
        return data

    def decode(data: bytes) -> tuple[object, ...]:
        got = request.FromString(data)
        return got.module, dict(got.headers), got.data

    return Codec("protobuf", encode, decode, lambda got: got)


CODECS: dict[str, tuple[Callable[[], Codec], str]] = {
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


def _made(failures: list[dict[str, str]]) -> Iterator[tuple[Codec, bytes]]:
    expected = (MODULE, HEADERS, VALUE)
    for name, (make, how) in CODECS.items():
        try:
            codec = make()
            data = codec.encode()
            got = codec.read(codec.decode(data))
        except ModuleNotFoundError as error:
            failures.append({"codec": name, "failed": f"not installed: {how} ({error})"})
        except Exception as error:  # noqa: BLE001 - one codec that fails must not hide the others
            failures.append({"codec": name, "failed": f"failed: {type(error).__name__}: {error}"})
        else:
            if got == expected:
                yield codec, data
            else:
                failures.append({"codec": name, "failed": f"failed: it decoded {got!r}"})


def measure(seconds: float) -> dict[str, Any]:
    """Encode and decode of every codec, in turns, for about so many seconds in all."""
    failures: list[dict[str, str]] = []
    made = list(_made(failures))
    timings = [(codec, data, Timing(codec.encode), Timing(partial(codec.decode, data))) for codec, data in made]
    end = time.monotonic() + seconds
    first = True
    while first or time.monotonic() < end:
        first = False
        for _, _, encode, decode in timings:
            encode.batch()
            decode.batch()
    rows: list[dict[str, Any]] = [
        {"codec": codec.name, "bytes": len(data), "encode_ns": enc.nanoseconds, "decode_ns": dec.nanoseconds}
        for codec, data, enc, dec in timings
    ]
    return {"rows": [*rows, *failures]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="how long in all (default: %(default)s)")
    print(json.dumps(measure(parser.parse_args().seconds)))
