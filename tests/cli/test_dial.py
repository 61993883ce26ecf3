import socket
from pathlib import Path

import pytest

from splnode.cli import dial
from splnode.cli.failure import NoEndpointError, UsageError
from splnode.cli.target import Target
from splnode.endpoint import Endpoint
from splnode.errors import CallError, Code, SchemaError
from splnode.wire.message import Contract
from tests.cli.echo import PROTOCOL


def at(*endpoints: str, connect_timeout: float = 5.0) -> Target:
    return Target([Endpoint.parse(text) for text in endpoints], 10.0, connect_timeout, {})


@pytest.mark.parametrize("place", [0, 1, 2], ids=["unix", "tcp", "http"])
def test_finds_a_service_by_both_names(node: list[str], place: int) -> None:
    for name in ("test.Echo", "Echo", "splnode.Health"):
        endpoint, protocol = dial.find(at(node[place]), name)
        assert str(endpoint) == node[place]
        assert dial.names(name, protocol)


@pytest.mark.parametrize("framing", ["netty", "spec", "sasl"])
def test_every_framing(node: list[str], framing: str) -> None:
    with dial.connected(at(f"{node[1]}?framing={framing}"), PROTOCOL) as dialled:
        assert dialled.client(5).call("add", {"a": 1, "b": 1}) == 2
        assert dialled.server == PROTOCOL


def test_the_first_that_answers(node: list[str], tmp_path: Path) -> None:
    with dial.connected(at(f"unix://{tmp_path}/none", node[1]), PROTOCOL) as dialled:
        assert str(dialled.endpoint) == node[1]


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(NoEndpointError, match="no such socket file"):
        dial.dial_first(at(f"unix://{tmp_path}/none"), Contract(PROTOCOL))
    with pytest.raises(NoEndpointError, match=r"(?s)no node can be reached:.*none.*nil.*splnode serve"):
        dial.dial_first(at(f"unix://{tmp_path}/none", f"unix://{tmp_path}/nil"), Contract(PROTOCOL))


def test_a_peer_that_is_no_avro(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "s"))
        mute.listen()
        with pytest.raises(NoEndpointError, match="does it speak Avro"):
            dial.dial_first(at(f"unix://{tmp_path}/s", connect_timeout=0.05), Contract(PROTOCOL))


def test_a_service_that_is_not_there(node: list[str], stock: str) -> None:
    with pytest.raises(NoEndpointError, match=r"does not serve Ekho \(did you mean Echo\?\)|does not serve Ekho;"):
        dial.find(at(node[0]), "Ekho")
    with pytest.raises(NoEndpointError, match=r"it serves splnode\.Health, splnode\.Reflection, test\.Echo"):
        dial.find(at(node[0]), "com.acme.Nope")
    with pytest.raises(NoEndpointError, match=r"does not serve Nope; it serves test\.Echo"):
        dial.find(at(stock), "Nope")


def test_other_failures_than_of_the_connection_are_not_hidden(node: list[str]) -> None:
    def attempt(endpoint: Endpoint) -> None:
        raise CallError(Code.INTERNAL, "no")

    with pytest.raises(CallError, match="INTERNAL"):
        dial.first_of(at(node[0]), attempt)


@pytest.mark.parametrize("place", [0, 2], ids=["unix", "http"])
def test_a_node_lists_what_it_serves(node: list[str], place: int) -> None:
    found = dial.listing(at(node[place]))
    assert [each["name"] for each in found] == ["splnode.Health", "splnode.Reflection", "test.Echo"]
    assert "add" in found[2]["messages"]


def test_a_stock_server_has_what_it_shows(stock: str) -> None:
    found = dial.listing(at(stock))
    assert [each["name"] for each in found] == ["test.Echo"]
    assert found[0]["doc"] == PROTOCOL.doc


def test_names_of_messages() -> None:
    assert dial.split_name("splnode.Health.check") == ("splnode.Health", "check")
    for text in ("check", ".check", "Health.", ""):
        with pytest.raises(UsageError, match=r"SERVICE\.MESSAGE"):
            dial.split_name(text)


def test_a_protocol_file(tmp_path: Path) -> None:
    file = tmp_path / "p.avpr"
    with pytest.raises(UsageError, match="cannot be read"):
        dial.load_protocol(str(file))
    file.write_text("{")
    with pytest.raises(SchemaError, match=r"p\.avpr"):
        dial.load_protocol(str(file))
    file.write_text(PROTOCOL.text)
    assert dial.load_protocol(str(file)) == PROTOCOL


def test_unknown_messages_name_the_nearest() -> None:
    assert dial.message_of(PROTOCOL, "add").name == "add"
    with pytest.raises(CallError, match="did you mean headers"):
        dial.message_of(PROTOCOL, "header")
