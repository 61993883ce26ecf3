import asyncio
from collections.abc import Callable, Mapping

import msgspec
import pytest

from splnode.avro.fingerprint import resolution_fingerprint
from splnode.avro.protocol import Protocol
from splnode.balance.accrual import Standing
from splnode.balance.member import Member
from splnode.config import EjectionConfig
from splnode.discovery.resolver import Address, Instance, Service
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code
from splnode.net.channel import State
from splnode.rpc.call import Call
from tests.balance.conftest import PROTOCOL, Mesh

LOCAL, NEAR, FAR = (Endpoint.parse(text) for text in ("unix:///run/x.sock", "tcp://10.0.0.1:1", "tcp://10.0.0.2:1"))


class Dialled:
    """An address that connects, refuses or hangs, as `how` says."""

    def __init__(self, endpoint: Endpoint, how: str) -> None:
        self.endpoint = endpoint
        self.how = how
        self.state = State.IDLE
        self.last_error = ""
        self.server: Protocol | None = None
        self.dials = 0
        self.forgotten = False
        self.closed = False

    async def call(self, call: Call) -> object:
        return str(self.endpoint)

    async def connect(self) -> None:
        self.dials += 1
        if self.how == "hangs":
            await asyncio.Event().wait()
        if self.how == "refuses":
            self.state, self.last_error = State.TRANSIENT_FAILURE, f"{self.endpoint}: refused"
            raise CallError(Code.UNAVAILABLE, self.last_error, started=False)
        self.state = State.READY

    async def ping(self, timeout: float, metadata: Mapping[str, bytes] | None = None) -> Mapping[str, bytes]:
        return {"from": str(self.endpoint).encode()}

    def forget(self) -> None:
        self.forgotten = True

    def abort(self, reason: str) -> None:
        self.state = State.IDLE

    async def close(self) -> None:
        self.closed = True


def member(*ways: tuple[Endpoint, str]) -> tuple[Member, dict[Endpoint, Dialled]]:
    hows, dialled = dict(ways), {}

    def dial(endpoint: Endpoint, _changed: Callable[[], None]) -> Dialled:
        dialled[endpoint] = Dialled(endpoint, hows.get(endpoint, "connects"))
        return dialled[endpoint]

    return Member(instance(*hows), dial, EjectionConfig()), dialled


def instance(*endpoints: Endpoint, node: str = "n1", epoch: int = 1) -> Instance:
    return Instance(tuple(Address(endpoint, "static") for endpoint in endpoints), node=node, epoch=epoch)


def call() -> Call:
    return Mesh().call()


async def test_the_first_address_is_taken():
    made, dialled = member((LOCAL, "connects"), (NEAR, "connects"))
    assert await made.call(call()) == str(LOCAL)
    assert dialled[NEAR].dials == 0


async def test_the_next_one_where_the_first_refuses():
    made, _ = member((LOCAL, "refuses"), (NEAR, "connects"))
    assert await made.call(call()) == str(NEAR)


async def test_the_socket_of_this_host_is_taken_once_it_can_be():
    made, dialled = member((LOCAL, "refuses"), (NEAR, "connects"))
    assert await made.call(call()) == str(NEAR)
    assert made.nearer is dialled[LOCAL]
    await made.approach()
    assert await made.call(call()) == str(NEAR)
    dialled[LOCAL].how = "connects"
    await made.approach()
    assert await made.call(call()) == str(LOCAL)
    assert made.nearer is None
    await made.approach()
    assert dialled[LOCAL].dials == 3
    far, _ = member((NEAR, "refuses"), (FAR, "connects"))
    assert await far.call(call()) == str(FAR)
    assert far.nearer is None  # of two addresses on the network the one that works is as good


async def test_an_address_that_leads_nowhere_holds_up_the_next_for_a_moment_only():
    made, dialled = member((LOCAL, "hangs"), (NEAR, "connects"))
    async with asyncio.timeout(4):
        assert await made.call(call()) == str(NEAR)
    assert dialled[LOCAL].dials == 1


async def test_where_none_connects_all_reasons_are_told():
    made, _ = member((NEAR, "refuses"), (FAR, "refuses"))
    with pytest.raises(CallError, match=f"{NEAR}: refused; {FAR}: refused") as caught:
        await made.call(call())
    assert not caught.value.started
    assert made.state is State.TRANSIENT_FAILURE
    assert not made.good(0)


async def test_the_deadline_ends_the_dialling():
    made, _ = member((NEAR, "hangs"))
    late = call()
    late.deadline -= 4.99
    with pytest.raises(CallError) as caught:
        await made.call(late)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert not caught.value.started
    await made.close()


async def test_two_calls_dial_once():
    made, dialled = member((NEAR, "connects"))
    await asyncio.gather(made.call(call()), made.call(call()))
    assert dialled[NEAR].dials == 1


async def test_a_probe_goes_the_way_of_the_calls():
    made, _ = member((LOCAL, "refuses"), (NEAR, "connects"))
    with pytest.raises(CallError, match="n1 is not connected"):
        await made.ping(1)
    await made.connect(1)
    assert await made.ping(1) == {"from": str(NEAR).encode()}


async def test_one_that_serves_something_else_than_it_announces():
    mesh, other = Mesh(), Protocol.parse('{"protocol": "Shop", "namespace": "com.acme", "types": [], "messages": {}}')
    true = resolution_fingerprint(PROTOCOL)
    made, dialled = member((NEAR, "connects"))
    made.renew(msgspec.structs.replace(instance(NEAR), services=(Service("com.acme.Shop", resolution=true),)))
    assert made.lie("com.acme.Shop") == ""  # nobody knows yet
    dialled[NEAR].server = PROTOCOL
    assert await made.call(mesh.call()) == str(NEAR)
    assert made.lie("com.acme.Shop") == made.lie("com.acme.Other") == ""
    dialled[NEAR].server = other
    lie = made.lie("com.acme.Shop")
    assert lie.startswith(f"it announces com.acme.Shop with the fingerprint {true.hex()}, and serves ")
    assert made.lie("com.acme.Shop") is lie  # it is compared once
    dialled[NEAR].state = State.IDLE
    assert made.lie("com.acme.Shop") == ""
    with pytest.raises(CallError) as caught:  # it is found out before the first call is sent
        await made.call(mesh.call())
    assert (caught.value.code, caught.value.message, caught.value.started) == (Code.FAILED_PRECONDITION, lie, False)
    told = Service("com.acme.Shop", resolution=resolution_fingerprint(other))
    made.renew(msgspec.structs.replace(instance(NEAR), services=(told,)))
    assert made.lie("com.acme.Shop") == ""


async def test_a_new_life_has_no_past():
    made, dialled = member((NEAR, "connects"))
    made.accrual.eject(0, 0.5)
    made.leaving, made.last_error, made.misfits["buy"] = "it stops", "it stopped", "sku"
    assert made.renew(instance(NEAR, epoch=2)) == []
    assert made.accrual.standing(0) is Standing.LIVE
    assert (made.leaving, made.why(), made.misfits) == ("", "", {})
    assert dialled[NEAR].forgotten


async def test_nor_has_one_that_has_moved():
    made, dialled = member((NEAR, "connects"))
    made.accrual.eject(0, 0.5)
    assert made.renew(instance(FAR)) == [dialled[NEAR]]
    assert made.accrual.standing(0) is Standing.LIVE


async def test_the_same_life_keeps_its_record():
    made, dialled = member((NEAR, "connects"))
    made.accrual.eject(0, 0.5)
    assert made.renew(instance(NEAR, FAR)) == []
    assert made.accrual.standing(0) is Standing.EJECTED
    assert list(made.lines) == [NEAR, FAR]
    assert not dialled[NEAR].forgotten


async def test_an_address_that_is_gone_is_given_back():
    made, dialled = member((NEAR, "connects"), (FAR, "connects"))
    assert made.renew(instance(FAR)) == [dialled[NEAR]]
    assert list(made.lines) == [FAR]


async def test_dismissed_it_waits_for_its_calls_and_not_for_ever():
    made, dialled = member((NEAR, "connects"))
    made.begin(0)
    dismissed = asyncio.create_task(made.dismiss(5))
    await asyncio.sleep(0)
    assert not dialled[NEAR].closed
    made.end()
    await dismissed
    assert dialled[NEAR].closed
    made.begin(0)
    await made.dismiss(0.001)


def test_without_an_id_it_is_known_by_its_address():
    made, _ = member((NEAR, "connects"))
    made.renew(instance(NEAR, node=""))
    assert made.name == str(NEAR)
