"""What the client makes of servers that are not of ours, with the bytes that they really send."""

import pytest

from splnode.errors import CallError, Code
from splnode.wire.events import Ready, Response
from splnode.wire.message import Contract
from splnode.wire.session import ClientSession
from tests.wire.conftest import CALCULATOR, OTHER, handshake, long, netty, spec, string

PING = b"\0\0"
INVALID = b"\0\x01\0" + string("invalid handshake request")


def test_avsc_refuses_and_says_only_once_what_it_speaks() -> None:
    """It answers NONE to a protocol that it cannot serve, and leaves its text out once its hash was right."""
    client = ClientSession(Contract(CALCULATOR))
    client.start()
    client.data_to_send()
    text = b"\x04\x02" + string(OTHER.text) + b"\x02" + OTHER.md5 + b"\0"
    client.receive_data(netty(0, text, INVALID))
    client.data_to_send()
    client.receive_data(netty(1, text, INVALID))
    third = b"".join(client.data_to_send())
    assert handshake(CALCULATOR.md5, OTHER.md5, CALCULATOR.text) in third
    assert client.receive_data(netty(2, b"\x04\0\0\0", INVALID)) == []
    with pytest.raises(CallError, match=r"it speaks org\.example\.Other"):
        client.call("add", {"a": 1, "b": 2})


@pytest.mark.parametrize("served", [True, False])
def test_python_writes_its_system_errors_to_nowhere(served: bool) -> None:
    """A handshake, and the end of the message."""
    client = ClientSession(Contract(CALCULATOR), framing="http")
    serial = client.call("add", {"a": 1, "b": 2})
    client.data_to_send()
    server = CALCULATOR if served else OTHER
    body = b"\x02\x02" + string(server.text) + b"\x02" + server.md5 + b"\0"
    ready, response = client.receive_data(spec(body))
    assert isinstance(ready, Ready)
    assert isinstance(response, Response)
    assert response.serial == serial
    assert isinstance(response.error, CallError)
    assert response.error.code is (Code.UNKNOWN if served else Code.UNIMPLEMENTED)
    assert response.error.remote is served
    assert client.receive_eof() == []
    again = client.call("echo", {"text": "x"})
    client.data_to_send()
    if not served:
        return
    (response,) = client.receive_data(spec(bytes(4), PING + long(1) + b"x"))
    assert isinstance(response, Response)
    assert (response.serial, response.value) == (again, "x")


def test_java_over_http_says_that_it_has_no_such_message() -> None:
    """Without a code of ours: its protocol, which comes with the answer, tells what it was."""
    client = ClientSession(Contract(CALCULATOR), framing="http")
    client.call("add", {"a": 1, "b": 2})
    client.data_to_send()
    body = b"\x02\x02" + string(OTHER.text) + b"\x02" + OTHER.md5 + b"\0"
    _, response = client.receive_data(spec(body, b"\0\x01\0" + string("No message named add")))
    assert isinstance(response, Response)
    assert isinstance(response.error, CallError)
    assert (response.error.code, response.error.message) == (Code.UNIMPLEMENTED, "No message named add")
    assert (response.error.remote, response.error.started) == (True, False)
