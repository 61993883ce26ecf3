"""splnode.net.http_exchange: requests and answers as literal bytes."""

import pytest

from splnode.endpoint import Endpoint
from splnode.limits import Limits
from splnode.net.http_exchange import ROOM, HttpExchange, HttpFault, _written

HERE = Endpoint("http+avro", "127.0.0.1", 80, "/a b", framing="http")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_a_request() -> None:
    assert b"".join(HttpExchange(HERE, Limits()).post(b"abc")) == (
        b"POST /a%20b HTTP/1.1\r\nHost: 127.0.0.1:80\r\nContent-Type: avro/binary\r\nContent-Length: 3\r\n\r\nabc"
    )


@pytest.mark.parametrize("cut", [len(OK), 1, 10])
def test_answers_one_after_another_however_they_arrive(cut: int) -> None:
    http = HttpExchange(HERE, Limits())
    for _ in range(3):
        assert http.usable
        http.post(b"abc")
        assert not http.usable
        found = [http.receive(OK[at : at + cut]) for at in range(0, len(OK), cut)]
        assert found[-1] == b"hi" and set(found[:-1]) <= {None}


def test_the_end_of_the_connection_ends_an_answer_without_a_length() -> None:
    http = HttpExchange(HERE, Limits())
    http.post(b"")
    assert http.receive(b"HTTP/1.0 200 OK\r\n\r\nhi") is None
    assert http.receive(b"") == b"hi"
    assert not http.usable


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"", "the peer closed the connection"),
        (b"SSH-2.0\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnone", "HTTP status 404: none"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + bytes(ROOM + 101), f"more than {ROOM + 100} bytes"),
    ],
)
def test_what_is_no_answer(said: bytes, fault: str) -> None:
    http = HttpExchange(HERE, Limits(message_bytes=100))
    http.post(b"")
    with pytest.raises(HttpFault, match=fault):
        http.receive(said)


def test_what_was_not_asked_makes_it_unusable() -> None:
    http = HttpExchange(HERE, Limits())
    http.post(b"")
    assert http.receive(OK + OK) == b"hi"
    assert not http.usable


def test_a_host_as_it_stands_in_a_url() -> None:
    assert [_written(host) for host in ("::1", "a.b", "b\u00fccher.de")] == ["[::1]", "a.b", "xn--bcher-kva.de"]
