"""How fast the wire is by itself: a ClientSession and a ServerSession in one process, no socket, no loop.

    python -m benchmarks.session [--calls 200000] [--batch 64] [--engine plain] [--profile]

Three figures: decoding and answering requests (the server alone, requests prepared), the client alone, and both.
The call is SPLExecuteService's of 20 characters of module, 3 headers and 64 bytes of value, or one of two ints.
"""

import argparse
import cProfile
import json
import os
import pstats
import time
from collections.abc import Callable

from splnode.avro.protocol import Protocol
from splnode.wire.message import Contract
from splnode.wire.session import ClientProtocols, ClientSession, Directory, ServerSession

PROTOCOL = {
    "protocol": "Bench",
    "namespace": "org.example",
    "types": [
        {"type": "record", "name": "Execute", "fields": [
            {"name": "module", "type": "string"},
            {"name": "headers", "type": {"type": "map", "values": "string"}},
            {"name": "value", "type": ["null", "bytes", "string"]}]},
    ],
    "messages": {
        "add": {"request": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}], "response": "int"},
        "execute": {"request": [{"name": "request", "type": "Execute"}], "response": "Execute"},
    },
}  # fmt: skip
EXECUTE = {
    "module": "package/api/method20",
    "headers": {"spl-session": "0123456789", "spl-user": "somebody", "spl-trace": "abcdef0123456789"},
    "value": b"x" * 64,
}
CALLS = {"add": ({"a": 2, "b": 40}, 42), "execute": ({"request": EXECUTE}, EXECUTE)}
METADATA = {"spl-timeout-ms": b"30000", "spl-call-id": b"0123456789abcdef"}


def pair(framing: str) -> tuple[ClientSession, ServerSession]:
    contract = Contract(Protocol.parse(json.dumps(PROTOCOL)))
    server = ServerSession(Directory([contract]), ClientProtocols())
    client = ClientSession(contract, framing=framing)
    client.start()
    while not client.ready:
        server.receive_data(b"".join(client.data_to_send()))
        client.receive_data(b"".join(server.data_to_send()))
    return client, server


def both(framing: str, name: str, calls: int, batch: int, metadata: dict[str, bytes] | None) -> dict[str, float]:
    """Calls a second of the server, of the client, and of both together."""
    client, server = pair(framing)
    params, result = CALLS[name]
    at_server = at_client = 0.0
    clock = time.perf_counter
    for _ in range(calls // batch):
        start = clock()
        for _ in range(batch):
            client.call(name, params, metadata)
        up = b"".join(client.data_to_send())
        called = clock()
        for request in server.receive_data(up):
            server.respond(request, result)
        down = b"".join(server.data_to_send())
        answered = clock()
        responses = client.receive_data(down)
        at_server += answered - called
        at_client += called - start + clock() - answered
        assert len(responses) == batch
    return {"server": calls / at_server, "client": calls / at_client, "both": calls / (at_server + at_client)}


def best(run: Callable[[], dict[str, float]], times: int = 3) -> dict[str, float]:
    runs = [run() for _ in range(times)]
    return {key: max(each[key] for each in runs) for key in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--engine", choices=("plain", "native"))
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.engine:
        os.environ["SPLNODE_ENGINE"] = options.engine
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(both, "netty", "execute", options.calls, options.batch, None)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    for framing in ("netty", "spec"):
        for name in CALLS:
            for metadata in (None, METADATA):
                figures = best(lambda: both(framing, name, options.calls, options.batch, metadata))  # noqa: B023 - run at once
                row = {"framing": framing, "call": name, "metadata": len(metadata or ()), **figures}
                if options.json:
                    print(json.dumps(row))
                else:
                    rates = "  ".join(f"{key} {value:>9,.0f}/s" for key, value in figures.items())
                    print(f"{framing:5} {name:8} {len(metadata or ()):>2} metadata  {rates}")


if __name__ == "__main__":
    main()
