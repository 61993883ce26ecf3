from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splnode.avro.protocol import Protocol
from splnode.errors import DeclaredError
from splnode.rpc.client import Client
from splnode.rpc.server import Server
from splnode.wire.message import Contract

PROTOCOLS = Path(__file__).parents[2] / "protocols"

Serve = Callable[..., Client]


@pytest.fixture(params=["in process", "through the codec"])
def serve(request: pytest.FixtureRequest) -> Serve:
    """A client of an implementation: `serve("SPLDataService", service, DataReadError)`."""

    def connect(name: str, implementation: object, *errors: type[DeclaredError]) -> Client:
        protocol = Protocol.load(PROTOCOLS / f"{name}.avpr")
        server = Server(protocol, implementation, force_codec=request.param != "in process")
        named: dict[str, Any] = {error.schema_name: error for error in errors}
        return Client(server, Contract(protocol, errors=named))

    return connect
