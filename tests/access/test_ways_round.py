"""Nobody gets round the guard: every way to call, and what one may try."""

import asyncio
import json
import random
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import splnode
from splnode.access.policy import parse
from splnode.avro.codec import encoder
from splnode.avro.protocol import Protocol, find_protocol
from splnode.errors import CallError, Code
from splnode.identity import Identity
from splnode.net.proof import proved
from splnode.rpc.client import Client
from splnode.sync import connect as connect_blocking
from splnode.wire.handshake import HandshakeRequest, write_request
from splnode.wire.primitive import write_string
from splnode.wire.spec import spec_frame
from tests.access.conftest import FRONT, ITEM, POLICY, Place, placed
from tests.engines import ENGINES, engine_for_a_test
from tests.net.test_http_server import ADD, THREE, Web, post
from tests.rpc.conftest import PROTOCOL
from tests.wire.conftest import netty

WAYS = ("tcp", "spec", "sasl", "http")
ADD_PARAMS = {"a": 1, "b": 2}
LOOPBACK = b"loopback anyone loopback"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from engine_for_a_test(request.param, monkeypatch)


async def denied(call: Any, code: Code = Code.PERMISSION_DENIED) -> CallError:
    with pytest.raises(CallError) as caught:
        await call
    assert caught.value.code is code, caught.value
    return caught.value


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_denied_is_denied_by_every_way_and_never_runs(place: Place, way: str, engine: str) -> None:
    async with place.client(way) as client:
        for _ in range(3):
            assert await client.add(**ADD_PARAMS) == 3
            error = await denied(client.reserve(**ITEM))
            assert error.message == "loopback may not call com.acme.Inventory.reserve (no rule of policy.toml fits)"
            assert not error.started
            await denied(client.echo(value=1))
        if way == "http":  # where everything is answered
            await denied(client.tell(text="denied"))
        else:
            await client.tell(text="denied, and nobody says so")
        assert await client.add(**ADD_PARAMS) == 3
    assert place.inventory.ran == ["add"] * 4
    assert place.inventory.told == []


async def test_who_is_allowed_everything_is_so_by_another_way(place: Place, engine: str) -> None:
    async with place.client("unix") as client:
        assert (await client.reserve(**ITEM))["sku"] == "A1"
        await client.tell(text="x")
        await asyncio.wait_for(place.inventory.heard.wait(), 20)


async def test_a_blocking_client_is_denied_too(place: Place, engine: str) -> None:
    def attempt() -> Code:
        with connect_blocking(str(place.tcp), PROTOCOL) as client:
            assert client.add(**ADD_PARAMS) == 3
            try:
                client.reserve(**ITEM)
            except CallError as error:
                return error.code
            return Code.UNKNOWN

    assert await asyncio.to_thread(attempt) is Code.PERMISSION_DENIED


async def test_many_calls_at_once_mixed(place: Place, engine: str) -> None:
    async with place.client() as client:
        calls = [client.add(**ADD_PARAMS) if n % 3 else client.reserve(**ITEM) for n in range(300)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    for n, result in enumerate(results):
        if n % 3:
            assert result == 3
        else:
            assert isinstance(result, CallError)
            assert result.code is Code.PERMISSION_DENIED
    assert set(place.inventory.ran) == {"add"}


def request(protocol: Any, message: str, params: dict[str, Any], *, text: bool = False, md5: bytes = b"") -> bytes:
    """A call with a handshake, whose client says that its protocol is of that hash."""
    shake = write_request(HandshakeRequest(md5 or protocol.md5, protocol.text if text else None, protocol.md5))
    encode = encoder(protocol.messages[message].request).encode
    return bytes(shake + b"\0" + write_string(message) + encode(params))


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    serial, buffers = struct.unpack(">II", await asyncio.wait_for(reader.readexactly(8), 20))
    parts = []
    for _ in range(buffers):
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        parts.append(await reader.readexactly(length))
    return serial, b"".join(parts)


async def test_another_handshake_on_a_connection_is_no_way_in(place: Place, engine: str) -> None:
    data = find_protocol("SPLDataService")
    reader, writer = await asyncio.open_connection("127.0.0.1", place.tcp.port)
    try:
        writer.write(netty(1, request(PROTOCOL, "add", ADD_PARAMS, text=True)))
        assert (await answer(reader))[1].endswith(b"\0\x06")
        plain = b"\0" + write_string("add") + encoder(PROTOCOL.messages["add"].request).encode(ADD_PARAMS)
        writer.write(netty(2, plain) * 2)
        assert (await answer(reader))[1].endswith(b"\0\x06")
        assert (await answer(reader))[1].endswith(b"\0\x06")
        writer.write(netty(3, request(data, "listTopics", {"limit": 10, "offset": 0}, text=True, md5=PROTOCOL.md5)))
        assert b"loopback may not call SPLDataService.listTopics" in (await answer(reader))[1]
        writer.write(netty(4, request(PROTOCOL, "reserve", ITEM, text=True)))
        assert b"loopback may not call com.acme.Inventory.reserve" in (await answer(reader))[1]
        writer.write(netty(5, b"\0\0") + netty(6, plain))
        assert (await answer(reader))[0] == 5  # a ping is everybody's
        assert (await answer(reader))[1].endswith(b"\0\x06")
    finally:
        writer.close()
    assert place.inventory.ran == ["add"] * 4


# --- who one says that one is


@pytest.mark.parametrize("named", [b"node anyone own", b"uid:0 own", b"", b"\xff", LOOPBACK, b"loopback own"])
async def test_nobody_on_a_plain_link_says_who_it_is(place: Place, engine: str, named: bytes) -> None:
    spoof = {"spl-identity": named}
    async with place.client(protocol=FRONT) as front, place.client() as client:
        said = await front.call("who", {"through": 0}, metadata=spoof)
        assert said == "loopback anyone loopback"
        assert await client.call("add", ADD_PARAMS, metadata=spoof) == 3
        await denied(client.call("reserve", ITEM, metadata=spoof))
    assert place.inventory.ran == ["add"]


async def test_the_nodes_own_user_may_act_for_another_and_is_then_held_to_that(place: Place, engine: str) -> None:
    async with place.client("unix") as client, place.client("unix", FRONT) as front:
        for_other = {"spl-identity": LOOPBACK}
        assert await client.call("add", ADD_PARAMS, metadata=for_other) == 3
        assert "loopback may not" in (await denied(client.call("reserve", ITEM, metadata=for_other))).message
        assert await front.call("who", {"through": 2}, metadata=for_other) == "loopback anyone loopback"
        assert (
            "unreadable may not"
            in (await denied(client.call("add", ADD_PARAMS, metadata={"spl-identity": b""}))).message
        )


@pytest.mark.parametrize("through", [0, 1, 3])
async def test_what_a_handler_calls_is_for_whom_it_serves(place: Place, engine: str, through: int) -> None:
    async with place.client(protocol=FRONT) as front:
        assert await front.who(through=through) == "loopback anyone loopback"
    assert await place.node.client(FRONT).who(through=through) == "node anyone own"


async def test_a_handler_opens_no_door_but_as_the_node(place: Place, engine: str) -> None:
    async with place.client(protocol=FRONT) as front:
        error = await denied(front.reserve(as_node=False))
        assert error.message.startswith("loopback may not call com.acme.Inventory.reserve")
        assert place.inventory.ran == []
        assert await front.reserve(as_node=True) == "A1"
    assert await place.node.client(FRONT).reserve(as_node=False) == "A1"


# --- through the node


def forwarded(message: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
    encode = encoder(PROTOCOL.messages[message].request).encode
    return {"protocol": PROTOCOL.text, "message": message, "params": encode(params), "metadata": {}, **more}


@pytest.mark.parametrize("metadata", [{}, {"spl-identity": b"node anyone own"}, {"spl-identity": b"uid:0 own"}])
@pytest.mark.parametrize("to", [None, "own"])
async def test_a_call_that_is_passed_on_counts_as_what_it_is(
    place: Place, metadata: dict[str, bytes], to: str | None
) -> None:
    wishes = {"policy": None, "key": None, "to": to and place.node.id, "pin": None, "hedge": None}
    async with place.client(protocol="SPLNodeService") as node:
        said: Any = await node.callRemote(**forwarded("add", ADD_PARAMS, metadata=metadata, wishes=wishes))
        assert said["failure"] is None
        said = await node.callRemote(**forwarded("reserve", ITEM, metadata=metadata, wishes=wishes))
        assert said["failure"]["code"] == "PERMISSION_DENIED"
        assert said["failure"]["message"].startswith("loopback may not call com.acme.Inventory.reserve")
    assert place.inventory.ran == ["add"]


async def until_known(by: Place, place: Place) -> None:
    """Returns once one node has asked the other for its name."""
    roster = by.node.mesh.roster
    async with asyncio.timeout(10):
        while not any(each.node == place.node.id for each in roster.present):
            await roster.changed(roster.revision, 1)


async def test_running_a_module_elsewhere_is_running_a_module(place: Place, tmp_path: Path) -> None:
    peers = f'[discovery]\npeers = ["{place.tcp}"]\nmdns = "off"\n'
    value: dict[str, Any] = {"module": "spl/void/noop", "headers": {}, "value": None, "schema": None}
    async with placed(tmp_path / "b", more=peers) as other, other.client(protocol="SPLNodeService") as node:
        await until_known(other, place)
        for target in (None, place.node.id, other.node.id, str(place.tcp)):
            error = await denied(node.executeRemote(request=value, targetNode=target))
            assert "may not call SPLExecuteService.execute" in error.message
        other.reload('[[rule]]\nwho = ["*"]\nallow = ["*"]')
        error = await denied(node.executeRemote(request=value, targetNode=place.node.id), Code.INTERNAL)
        assert "policy" not in error.message  # what the other node said is its own
        place.reload('[[rule]]\nwho = ["*"]\nallow = ["*"]')
        assert (await node.executeRemote(request=value, targetNode=place.node.id))["status"] == "completed"


# --- tokens


async def test_a_token_is_one_by_every_way(place: Place, engine: str) -> None:
    bearer = {"authorization": f"Bearer {place.token('ci', 'com.acme.*')}".encode()}
    for way in (*WAYS, "unix"):
        async with place.client(way) as client:
            assert await client.call("add", ADD_PARAMS, metadata=bearer) == 3
            said = await client.call("seen", {}, metadata=bearer | {"k": b"v"})
            assert said == {"k": b"v"}  # a handler does not see the token
            assert "token:ci may not" in (await denied(client.call("reserve", ITEM, metadata=bearer))).message
    async with place.client(protocol=FRONT) as front:
        assert await front.call("who", {"through": 2}, metadata=bearer) == "token:ci anyone token"


@pytest.mark.parametrize("by", ["tcp", "unix"])
async def test_a_call_that_is_passed_on_may_bring_a_token(place: Place, by: str) -> None:
    token = place.token("ci", "com.acme.Front", "com.acme.Inventory.add")
    bearer = {"authorization": f"Bearer {token}".encode(), "spl-identity": b"node anyone own"}
    who = {"protocol": FRONT.text, "message": "who", "params": b"\x02", "metadata": bearer}
    reserve = {"protocol": FRONT.text, "message": "reserve", "params": b"\0", "metadata": bearer}
    async with place.client(by, "SPLNodeService") as node:
        said: Any = await node.callRemote(**who)
        assert said["result"][1:] == b"token:ci anyone token"
        said = await node.callRemote(**reserve)
        assert "token:ci may not call com.acme.Inventory.reserve" in said["failure"]["message"]
        said = await node.callRemote(**forwarded("add", ADD_PARAMS, metadata={"authorization": b"Bearer spl_x"}))
        assert said["failure"]["code"] == "UNAUTHENTICATED"
    assert place.inventory.ran == []


async def test_a_token_is_good_for_what_it_was_made_for(place: Place, engine: str) -> None:
    bearer = {"authorization": f"Bearer {place.token('ci', 'com.acme.Inventory.seen')}".encode()}
    async with place.client() as client:
        await client.call("seen", {}, metadata=bearer)
        error = await denied(client.call("add", ADD_PARAMS, metadata=bearer))
        assert error.message == "token:ci may not call com.acme.Inventory.add (its token was not made for that)"


async def test_a_token_that_was_revoked_is_good_for_nothing_on_an_open_connection(place: Place, engine: str) -> None:
    bearer = {"authorization": f"Bearer {place.token()}".encode()}
    async with place.client() as client:
        assert await client.call("add", ADD_PARAMS, metadata=bearer) == 3
        place.tokens.revoke("ci")
        place.reload()
        error = await denied(client.call("add", ADD_PARAMS, metadata=bearer), Code.UNAUTHENTICATED)
        assert error.message == "this is no token that is good here"
        assert await client.add(**ADD_PARAMS) == 3
        place.token("old", expires=1.0)


async def test_odd_metadata_is_no_token(place: Place, engine: str) -> None:
    token = place.token().encode()
    async with place.client() as client:
        for value in (token, b"Bearer " + token + b"x", b"Basic " + token, b""):
            await denied(client.call("add", ADD_PARAMS, metadata={"authorization": value}), Code.UNAUTHENTICATED)
        assert await client.call("add", ADD_PARAMS, metadata={"Authorization": b"Bearer x"}) == 3  # not that key


async def test_the_same_key_twice_in_the_metadata_counts_once(place: Place, engine: str) -> None:
    token = place.token("ci", "com.acme.Inventory.add").encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", place.tcp.port)
    try:
        writer.write(netty(1, request(PROTOCOL, "add", ADD_PARAMS, text=True)))
        await answer(reader)
        entries = [(b"authorization", b"Bearer nonsense"), (b"authorization", b"Bearer " + token)]
        for serial, order in ((2, entries), (3, entries[::-1])):
            pairs = b"".join(write_string(key.decode()) + write_string(value.decode()) for key, value in order)
            encode = encoder(PROTOCOL.messages["reserve"].request).encode
            writer.write(netty(serial, b"\x04" + pairs + b"\0" + write_string("reserve") + encode(ITEM)))
            assert b"A1" not in (await answer(reader))[1]
    finally:
        writer.close()
    assert place.inventory.ran == ["add"]


# --- SASL PLAIN


def plain(name: str, token: str) -> bytes:
    said = f"\0{name}\0{token}".encode()
    return b"\0" + struct.pack(">I", 5) + b"PLAIN" + struct.pack(">I", len(said)) + said


async def test_plain_opens_a_connection_until_its_token_ends(place: Place) -> None:
    token = place.token("ci", "com.acme.Inventory.add")
    reader, writer = await asyncio.open_connection("127.0.0.1", place.tcp.port)
    try:
        writer.write(plain("ci", token) + spec_frame(ADD))
        assert await asyncio.wait_for(reader.readexactly(5), 20) == b"\x03\0\0\0\0"
        assert (await asyncio.wait_for(reader.readexactly(len(THREE)), 20)) == THREE
        place.tokens.revoke("ci")
        place.reload()
        writer.write(spec_frame(ADD))
        assert b"no token that is good here" in await asyncio.wait_for(reader.read(1000), 20)
    finally:
        writer.close()


@pytest.mark.parametrize("name", ["ci", "other", "ci2"])
async def test_plain_with_another_name_or_token_is_refused(place: Place, name: str) -> None:
    token, _ = place.token("ci"), place.token("ci2")
    reader, writer = await asyncio.open_connection("127.0.0.1", place.tcp.port)
    try:
        writer.write(plain(name, token if name != "ci" else token + "x") + spec_frame(ADD))
        said = await asyncio.wait_for(reader.read(), 20)
        assert said[:1] == b"\x02"
        assert b"no token that is good here" in said
    finally:
        writer.close()
    assert place.inventory.ran == []


async def test_a_client_of_our_own_logs_in_by_plain(place: Place) -> None:
    token = place.token("ci", "com.acme.Inventory.add")
    where = place.tcp.replace(framing="sasl")

    def blocking(password: str) -> object:
        with splnode.sync.connect(where, PROTOCOL, login=("ci", password)) as client:
            return client.add(a=1, b=2)

    async with splnode.connect(where, PROTOCOL, login=("ci", token)) as client:
        assert await client.add(a=1, b=2) == 3
        with pytest.raises(CallError) as caught:
            await client.wait(name="")
        assert caught.value.code is Code.PERMISSION_DENIED
    assert await asyncio.to_thread(blocking, token) == 3
    for refused in (
        asyncio.to_thread(blocking, token + "x"),
        splnode.connect(where, PROTOCOL, login=("ci", token + "x")).__aenter__(),
    ):
        with pytest.raises(CallError, match=r"refused SASL PLAIN: .*no token that is good here") as caught:
            await refused
        assert token not in str(caught.value)
    assert place.inventory.ran == ["add", "add"]


# --- HTTP


@pytest.fixture
async def web(place: Place) -> AsyncIterator[Web]:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.tcp.port)
    yield Web(reader, writer, place.inventory)
    writer.close()


BODY = spec_frame(ADD)
RESERVE = spec_frame(request(PROTOCOL, "reserve", ITEM))


@pytest.mark.parametrize("header", ["Authorization: Bearer", "AUTHORIZATION: bearer ", "aUtHoRiZaTiOn:   BEARER"])
async def test_a_header_is_a_token(place: Place, web: Web, header: str) -> None:
    token = place.token("ci", "com.acme.Inventory.add")
    web.writer.write(post(BODY, more=f"{header} {token}\r\n") * 2)
    assert (await web.answer())[2] == THREE
    assert (await web.answer())[2] == THREE
    web.writer.write(post(RESERVE, more=f"{header} {token}\r\n"))
    status, _, body = await web.answer()
    assert status == 200
    assert b"token:ci may not call com.acme.Inventory.reserve" in body
    web.writer.write(post(BODY))
    assert (await web.answer())[2] == THREE
    web.writer.write(post(BODY, more="Authorization: Bearer spl_x\r\n"))
    status, headers, body = await web.answer()
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert body == b"this is no token that is good here\n"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n", 400),
        ("Authorization: Bearer {token}\r\nauthorization: Bearer x\r\n", 400),
        ("Authorization: {token}\r\n", 401),
        ("Authorization: Basic {token}\r\n", 401),
        ("Authorization: \r\n", 401),
        ("Origin: http://127.0.0.1\r\n", 403),
        ("Sec-Fetch-Site: same-origin\r\n", 403),
        ("spl-identity: node anyone own\r\n", 200),
    ],
)
async def test_headers_that_are_no_way_in(place: Place, web: Web, headers: str, status: int) -> None:
    token = place.token()
    web.writer.write(post(RESERVE, more=headers.format(token=token)))
    got, _, body = await web.answer()
    assert got == status
    assert token.encode() not in body
    if got == 200:
        assert b"loopback may not call" in body
    assert place.inventory.ran == []


async def test_a_page_is_for_whom_it_may_be(place: Place, web: Web) -> None:
    get = b"GET /metrics HTTP/1.1\r\nHost: x\r\n%s\r\n"
    web.writer.write(get % b"")
    status, _, body = await web.answer()
    assert (status, b"loopback may not call splnode.Metrics.text" in body) == (403, True)
    token = place.token("prometheus", "splnode.Metrics.text")
    place.reload(POLICY + '[[rule]]\nwho = ["token:prometheus"]\nallow = ["splnode.Metrics"]\n')
    web.writer.write(get % f"Authorization: Bearer {token}\r\n".encode())
    status, _, body = await web.answer()
    assert status == 200
    assert b'splnode_calls_denied_total{code="PERMISSION_DENIED"} 1' in body
    web.writer.write(get % b"Authorization: Bearer x\r\n")
    assert (await web.answer())[0] == 401


# --- other rules while calls run


async def test_other_rules_hold_for_the_next_call_of_an_open_connection(place: Place, engine: str) -> None:
    async with place.client() as client:
        for _ in range(3):
            assert await client.add(**ADD_PARAMS) == 3
            waiting = asyncio.ensure_future(client.wait(name="w"))
            await asyncio.wait_for(place.inventory.began.wait(), 20)
            place.inventory.began.clear()
            place.reload('[[rule]]\nwho = ["loopback"]\ndeny = ["*.add"]\n[[rule]]\nwho = ["*"]\nallow = ["*"]\n')
            error = await denied(client.add(**ADD_PARAMS))
            assert error.message == "loopback may not call com.acme.Inventory.add (policy.toml:1)"
            assert (await client.reserve(**ITEM))["sku"] == "A1"
            place.inventory.waiting.pop("w").set_result("done")
            assert await waiting == "done"  # it was allowed when it began
            place.reload(POLICY)
            await denied(client.reserve(**ITEM))
    assert place.inventory.ran.count("add") == 3


async def test_native_and_general_ways_say_the_same(place: Place, engine: str) -> None:
    """Random rules, one connection; what the pure function says is what comes of a call, whichever way it goes."""
    chance = random.Random(7)
    words = ["*", "com.acme.Inventory", "*.add", "*.seen", "com.acme.Inventory.remaining", "@added", "splnode.*"]
    who = ["*", "loopback", "@loopback", "@own", "@anyone", "uid:*"]
    loopback = Identity("loopback", ("loopback",), "tcp")
    async with place.client() as client:
        for _ in range(40):
            rules = "".join(
                f"[[rule]]\nwho = {json.dumps(chance.sample(who, chance.randint(1, 2)))}\n"
                f"{chance.choice(['allow', 'deny'])} = {json.dumps(chance.sample(words, chance.randint(1, 3)))}\n"
                for _ in range(chance.randint(0, 4))
            )
            place.reload(rules)
            policy = parse(rules)
            for message, params in (("add", ADD_PARAMS), ("seen", {}), ("remaining", {})) * 2:
                trace = chance.choice([None, {"traceparent": b"00-1"}, {"spl-identity": b"node anyone own"}])
                expected = policy.decide(loopback, "com.acme.Inventory", message).allowed
                try:
                    await client.call(message, params, metadata=trace)
                except CallError as error:
                    assert (error.code, expected) == (Code.PERMISSION_DENIED, False), (rules, message)
                else:
                    assert expected, (rules, message)


# --- what is written down


async def test_all_calls_are_written_down_where_that_is_asked_for(tmp_path: Path, engine: str) -> None:
    async with placed(tmp_path, access='audit_calls = "all"') as place:
        async with place.client() as client:
            await client.call("add", ADD_PARAMS, metadata={"spl-call-id": b"c-1"})
            await denied(client.reserve(item={"sku": "private-sku", "count": 1, "tags": []}))
            bearer = {"authorization": f"Bearer {place.token()}".encode()}
            await client.call("add", ADD_PARAMS, metadata=bearer)
        await place.node.client(PROTOCOL).add(**ADD_PARAMS)
    text = place.audit.read_text()
    assert "private" not in text
    assert "spl_" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    lines = [line for line in lines if line["service"] == PROTOCOL.name]
    assert [(line["verdict"], line["who"], line["message"], line.get("call")) for line in lines] == [
        ("allowed", "loopback", "add", "c-1"),
        ("denied", "loopback", "reserve", None),
        ("allowed", "token:ci", "add", None),
        ("allowed", "node", "add", None),
    ]
    assert [line["how"] for line in lines] == ["tcp", "tcp", "token", "process"]
    assert lines[0]["peer"].startswith("tcp://127.0.0.1:")
    assert lines[0]["rule"].endswith("policy.toml:4")


async def test_denials_are_written_down_whether_one_asks_or_not(place: Place) -> None:
    async with place.client() as client:
        await denied(client.reserve(**ITEM))
    place.audit.parent.joinpath("audit.jsonl").exists()
    await asyncio.to_thread(place.node._keeper._audit.close)  # type: ignore[union-attr]  # it is entered
    (line,) = [json.loads(line) for line in place.audit.read_text().splitlines()]
    assert (line["verdict"], line["message"]) == ("denied", "reserve")
    assert place.audit.stat().st_mode & 0o777 == 0o600


# --- links between hosts


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Identity]]:
    """What every connection proves from now on."""
    proves = [Identity("anyone", ("insecure",), "tcp")]
    monkeypatch.setattr("splnode.net.peer.proved", lambda _: proves[0])
    yield proves


async def test_a_token_over_a_plain_link_is_refused_and_burnt(place: Place, far: list[Identity], engine: str) -> None:
    token = place.token()
    bearer = {"authorization": f"Bearer {token}".encode()}
    async with place.client() as client:
        error = await denied(client.call("add", ADD_PARAMS, metadata=bearer), Code.UNAUTHENTICATED)
        assert "use TLS, and take another token" in error.message
    reader, writer = await asyncio.open_connection("127.0.0.1", place.tcp.port)
    writer.write(plain("ci", token) + spec_frame(ADD))
    assert (await asyncio.wait_for(reader.read(), 20))[:1] == b"\x02"
    writer.close()
    place.reload('[[rule]]\nwho = ["*"]\nallow = ["*"]\n')
    async with place.client(protocol="SPLNodeService") as node:
        said: Any = await node.callRemote(**forwarded("add", ADD_PARAMS, metadata=bearer))
        assert said["failure"]["code"] == "UNAUTHENTICATED"


async def test_a_member_is_believed_whom_it_calls_for_and_not_with_what_groups(
    place: Place, far: list[Identity], engine: str
) -> None:
    far[0] = Identity("spiffe://home/node/b", ("mesh",), "certificate")
    place.reload(
        '[[rule]]\nwho = ["spiffe://home/node/*", "ann"]\nallow = ["com.acme.*"]\n'
        '[[rule]]\nwho = ["@own"]\nallow = ["*"]\n'
    )
    async with place.client(protocol=FRONT) as front, place.client() as client:
        for_ann, for_bob = {"spl-identity": b"ann anyone own"}, {"spl-identity": b"bob anyone own"}
        assert await front.call("who", {"through": 1}, metadata=for_ann) == "ann anyone mesh"
        assert "bob may not" in (await denied(client.call("add", ADD_PARAMS, metadata=for_bob))).message
        nobody = await denied(client.call("add", ADD_PARAMS, metadata={"spl-identity": b"node"}))
        assert "node may not" in nobody.message
        assert await client.add(**ADD_PARAMS) == 3


async def test_who_an_insecure_link_names_is_not_believed(place: Place, far: list[Identity], engine: str) -> None:
    place.reload('[[rule]]\nwho = ["@insecure"]\nallow = ["com.acme.Front"]\n')
    async with place.client(protocol=FRONT) as front:
        said = await front.call("who", {"through": 0}, metadata={"spl-identity": b"ann own"})
        assert said == "anyone anyone insecure"


async def test_identity_travels_across_hops(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that passes a call on says whom it is for, by its own connection to the next."""
    member = Identity("spiffe://home/node/b", ("mesh",), "certificate")
    peers = f'[discovery]\npeers = ["{place.unix}"]\nmdns = "off"\nsame_host = false\n'
    everybody = '[[rule]]\nwho = ["*"]\nallow = ["*"]\n'
    (tmp_path / "b").mkdir()
    place.reload(everybody)
    async with placed(tmp_path / "b", everybody, more=peers) as other:
        other.node._router.remove(FRONT.name)
        other.node._directory.remove(FRONT.name)
        await until_known(other, place)

        def proving(transport: Any) -> Identity:
            who = proved(transport)
            return member if "own" in who.groups else who  # the other node comes by the Unix socket

        monkeypatch.setattr("splnode.net.peer.proved", proving)
        wishes = {"policy": None, "key": None, "to": None, "pin": None, "hedge": None}
        call = {"protocol": FRONT.text, "message": "who", "params": b"\x02", "metadata": {}, "wishes": wishes}
        async with other.client(protocol="SPLNodeService") as node:
            said: Any = await node.callRemote(**call)
            assert said["failure"] is None, said
            assert said["result"][1:] == b"loopback anyone mesh"
        spoofing = {**call, "metadata": {"spl-identity": b"node anyone own"}}
        async with other.client(protocol="SPLNodeService") as node:
            said = await node.callRemote(**spoofing)
            assert said["result"][1:] == b"loopback anyone mesh"


def test_the_face_has_what_a_program_needs() -> None:
    assert splnode.as_node is not None
    assert Client is splnode.Client


# --- what the engine keeps of metadata


ANN = b"\x02" + write_string("spl-identity") + write_string("ann") + b"\0"
ALL_BUT = '[[rule]]\nwho = ["ann"]\ndeny = ["{}"]\n[[rule]]\nwho = ["*"]\nallow = ["*"]\n'


def frame(serial: int, message: str, params: dict[str, Any], protocol: Any = PROTOCOL) -> bytes:
    """A call for ann, whose metadata is the same each time."""
    return netty(serial, ANN + write_string(message) + encoder(protocol.messages[message].request).encode(params))


async def adding_for_ann(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, serials: range) -> None:
    for serial in serials:
        writer.write(frame(serial, "add", ADD_PARAMS))
        assert (await answer(reader))[1].endswith(b"\0\x06")


async def calling_for_ann(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which ann was allowed to `add` often enough for that to be remembered: serials 0 to 5."""
    reader, writer = await asyncio.open_unix_connection(place.unix.path)
    writer.write(netty(0, request(PROTOCOL, "add", ADD_PARAMS, text=True)))
    await answer(reader)
    await adding_for_ann(reader, writer, range(1, 6))
    return reader, writer


async def test_what_was_allowed_for_one_message_is_kept_for_no_other(place: Place, engine: str) -> None:
    place.reload(ALL_BUT.format("nothing"))
    reader, writer = await calling_for_ann(place)
    try:
        place.reload(ALL_BUT.format("*.remaining"))
        writer.write(frame(6, "remaining", {}))  # never called here before
        assert b"ann may not call com.acme.Inventory.remaining" in (await answer(reader))[1]
        await adding_for_ann(reader, writer, range(7, 12))
        place.reload(ALL_BUT.format("*.add"))
        writer.write(frame(12, "add", ADD_PARAMS) * 3)
        for _ in range(3):
            assert b"ann may not call com.acme.Inventory.add" in (await answer(reader))[1]
        place.reload(ALL_BUT.format("nothing"))
        writer.write(frame(13, "add", ADD_PARAMS) * 3 + frame(14, "remaining", {}))
        for _ in range(3):
            assert (await answer(reader))[1].endswith(b"\0\x06")
        assert b"may not" not in (await answer(reader))[1]
    finally:
        writer.close()


async def test_what_was_allowed_before_a_service_was_added_is_not_for_that_one(place: Place, engine: str) -> None:
    late = Protocol.parse('{"protocol": "Late", "messages": {"say": {"request": [], "response": "string"}}}')

    class Late:
        def say(self) -> str:
            place.inventory.ran.append("say")
            return "said"

    place.reload(ALL_BUT.format("Late"))
    reader, writer = await calling_for_ann(place)
    try:
        place.node.serve(late, Late())
        writer.write(netty(6, request(late, "say", {}, text=True, md5=PROTOCOL.md5)))
        assert (await answer(reader))[1].endswith(write_string("said"))
        for serial in range(7, 12):
            writer.write(frame(serial, "say", {}, late))
            assert b"ann may not call Late.say" in (await answer(reader))[1]
    finally:
        writer.close()
    assert place.inventory.ran.count("say") == 1
