import asyncio
from pathlib import Path

import pytest

import splnode
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, ConfigError
from splnode.net.bearing import check_bearer, check_login, is_private
from splnode.net.blocking import channel_to
from splnode.net.channel import EndpointChannel
from splnode.rpc.client import Client
from splnode.wire.message import Contract
from tests.rpc.conftest import PROTOCOL, Inventory
from tests.rpc.test_call import a_call

BEARER = {"authorization": b"Bearer spl_x"}


class Upgrading:
    """A client's TLS that is spoken with everybody."""

    def dialled(self, endpoint: Endpoint) -> Endpoint:
        return endpoint.replace(scheme="tls")

    def client(self) -> object:
        raise AssertionError("nobody dials")

    def check(self, ssl_object: object, endpoint: Endpoint) -> str:
        return ""


@pytest.mark.parametrize(
    ("endpoint", "private"),
    [
        ("unix:///run/s", True), ("tcp://127.0.0.1:1", True), ("tcp://[::1]:1", True), ("tcp://localhost:1", True),
        ("http+avro://127.0.0.1:1/x", True), ("tls://10.0.0.1:1", True), ("https+avro://node.example:1/", True),
        ("tcp://10.0.0.1:1", False), ("tcp://node.example:1", False), ("http+avro://10.0.0.1:1/", False),
        ("tcp://127.0.0.1.example:1", False),
    ],
)  # fmt: skip
def test_where_nobody_else_reads(endpoint: str, private: bool) -> None:
    where = Endpoint.parse(endpoint)
    assert is_private(where, None) is private
    assert is_private(where, Upgrading())
    check_bearer(a_call(1), where, None)
    if not private:
        with pytest.raises(CallError, match="unencrypted link") as caught:
            check_bearer(a_call(1, BEARER), where, None)
        assert (caught.value.code, caught.value.started) == (Code.UNAUTHENTICATED, False)


async def test_a_password_goes_by_sasl_alone_and_nowhere_that_others_read() -> None:
    for where, error, words in (
        ("tls://10.0.0.1:1", ConfigError, "add [?]framing=sasl"),
        ("https+avro://10.0.0.1:1/", ConfigError, "add [?]framing=sasl"),
        ("tcp://192.0.2.1:1?framing=sasl", CallError, "a password is not sent over an unencrypted link"),
    ):
        with pytest.raises(error, match=words):
            async with splnode.connect(where, PROTOCOL, login=("ci", "secret")):
                pass
        with pytest.raises(error, match=words), splnode.sync.connect(where, PROTOCOL, login=("ci", "secret")):
            pass
    for where in ("tcp://127.0.0.1:1?framing=sasl", "tls://192.0.2.1:1?framing=sasl"):
        check_login(Endpoint.parse(where), None)


@pytest.mark.parametrize(
    "endpoint", ["tcp://192.0.2.1:1", "tcp://192.0.2.1:1?framing=spec", "http+avro://192.0.2.1:1/"]
)
async def test_nothing_is_dialled_for_a_token_that_must_not_go_there(endpoint: str) -> None:
    contract, where = Contract(PROTOCOL), Endpoint.parse(endpoint)
    channel = EndpointChannel(where, contract)
    client = Client(channel, contract)
    with pytest.raises(CallError, match="unencrypted link"):
        await client.call("add", {"a": 1, "b": 2}, metadata=BEARER)
    await channel.close()
    blocking = channel_to(where, contract)
    with pytest.raises(CallError, match="unencrypted link"):
        await asyncio.to_thread(blocking.call, a_call(1, BEARER))
    blocking.close()


async def test_a_client_with_a_token_brings_it_with_each_call(tmp_path: Path) -> None:
    async with splnode.listen([f"unix://{tmp_path}/s"], {PROTOCOL: Inventory()}) as server:
        where = server.endpoints[0]
        async with splnode.connect(where, PROTOCOL, token="spl_y") as client:
            for seen in (
                await client.seen(),
                await client.call("seen"),
                await client.call("seen", metadata={"k": b"v"}),
            ):
                assert seen["authorization"] == b"Bearer spl_y"

        def blocking() -> list[dict[str, bytes]]:
            with splnode.sync.connect(where, PROTOCOL, token="spl_z") as client:
                return [client.seen(), client.seen(), client.call("seen"), client.call("seen", metadata={"k": b"v"})]

        seen = await asyncio.to_thread(blocking)
        assert [each["authorization"] for each in seen] == [b"Bearer spl_z"] * 4
        assert seen[-1]["k"] == b"v"
