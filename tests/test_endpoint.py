"""splnode.endpoint: one line of text, both ways."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.endpoint import FRAMINGS, Endpoint
from splnode.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp://127.0.0.1:9090", Endpoint("tcp", "127.0.0.1", 9090)),
        ("tcp://localhost:0", Endpoint("tcp", "localhost", 0)),
        ("tcp://[::1]:9090", Endpoint("tcp", "::1", 9090)),
        ("tcp://host:9090?framing=spec", Endpoint("tcp", "host", 9090, framing="spec")),
        (
            "tcp://host:9090?framing=spec&service=SPLDataService",
            Endpoint("tcp", "host", 9090, framing="spec", service="SPLDataService"),
        ),
        ("unix:///run/user/1000/splnode.sock", Endpoint("unix", path="/run/user/1000/splnode.sock")),
        ("unix:///tmp/a%20b", Endpoint("unix", path="/tmp/a b")),
        ("unix:///tmp/x?service=S", Endpoint("unix", path="/tmp/x", service="S")),
        (
            "http+avro://127.0.0.1:8080/SPLDataService",
            Endpoint("http+avro", "127.0.0.1", 8080, "/SPLDataService", framing="http"),
        ),
        ("http+avro://host:80/", Endpoint("http+avro", "host", 80, "/", framing="http")),
        ("tls://host:9090", Endpoint("tls", "host", 9090)),
        ("tls://[::1]:9090?framing=spec", Endpoint("tls", "::1", 9090, framing="spec")),
        ("tls://host:9090?node=kitchen", Endpoint("tls", "host", 9090, node="kitchen")),
        ("https+avro://host:8443/S?node=a", Endpoint("https+avro", "host", 8443, "/S", framing="http", node="a")),
    ],
)
def test_is_read_and_written(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(text) == endpoint
    assert str(endpoint) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must begin with one of tcp://, tls://, unix://, http+avro://, https+avro://"),
        ("127.0.0.1:9090", "must begin with one of"),
        ("http://127.0.0.1:9090", "must begin with one of"),
        ("tcp://127.0.0.1", "host and port are both needed"),
        ("tcp://:9090", "host and port are both needed"),
        ("tcp://host:99999", "Port out of range"),
        ("tcp://host:x", "Port could not be cast"),
        ("tcp://host:1/path", "a tcp endpoint has no path (found '/path')"),
        ("tcp://[::1:9090", "Invalid IPv6 URL"),
        ("unix:///a?service=\udcff", "is no Unicode"),
        ("unix:///a?service=", "the option service is empty"),
        ("tcp://host:1#X", "it has no part behind #"),
        ("unix://", "a Unix socket needs an absolute path"),
        ("unix://relative", "a Unix socket needs an absolute path"),
        ("tcp://host:1?framing=x", "unknown framing 'x'; there are netty, spec, sasl, http"),
        ("tcp://host:1?framing=", "unknown framing ''"),
        ("tcp://host:1?farming=spec", "unknown option 'farming'"),
        ("http+avro://host:1/?framing=spec", "speaks http and no other framing"),
        ("https+avro://host:1/?framing=spec", "https+avro speaks http and no other framing"),
        ("tls://host:1/path", "a tls endpoint has no path"),
        ("tcp://host:1?node=kitchen", "only TLS proves which node is there"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Endpoint.parse(text)
    assert repr(text) in str(caught.value)
    assert words in str(caught.value)


@given(
    st.builds(
        Endpoint,
        st.just("tcp"),
        st.sampled_from(["127.0.0.1", "::1", "fe80::1%eth0", "example.org"]),
        st.integers(0, 65535),
        framing=st.none() | st.sampled_from(FRAMINGS),
        service=st.none() | st.text(min_size=1, max_size=9),
    )
    | st.builds(
        Endpoint,
        st.just("tls"),
        st.sampled_from(["127.0.0.1", "::1", "example.org"]),
        st.integers(0, 65535),
        framing=st.none() | st.sampled_from(FRAMINGS),
        node=st.none() | st.text(min_size=1, max_size=9),
    )
    | st.builds(
        Endpoint,
        st.just("unix"),
        path=st.text(max_size=9).map(lambda text: f"/{text}"),
        framing=st.none() | st.sampled_from(FRAMINGS),
    )
)
def test_any_endpoint_comes_back(endpoint: Endpoint) -> None:
    assert Endpoint.parse(str(endpoint)) == endpoint


@given(st.text(max_size=20) | st.text(max_size=20).map(lambda text: f"tcp://{text}:1"))
def test_no_text_fails_in_another_way(text: str) -> None:
    with contextlib.suppress(ConfigError):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://127.1.2.3:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://localhost:1", True),
        ("unix:///x", True),
        ("http+avro://127.0.0.1:1/", True),
        ("tcp://0.0.0.0:1", False),
        ("tcp://[::]:1", False),
        ("tcp://10.0.0.1:1", False),
        ("tcp://example.org:1", False),
        ("tcp://127.0.0.1.example.org:1", False),
    ],
)
def test_what_only_this_host_can_reach(text: str, local: bool) -> None:
    assert Endpoint.parse(text).is_local is local


@pytest.mark.parametrize(
    ("text", "secure"),
    [
        ("tcp://h:1", False),
        ("http+avro://h:1/", False),
        ("unix:///x", False),
        ("tls://h:1", True),
        ("https+avro://h:1/", True),
    ],
)
def test_what_is_spoken_over_tls(text: str, secure: bool) -> None:
    assert Endpoint.parse(text).is_secure is secure
