"""splnode.net.securing: a client without TLS of its own believes the system's authorities."""

import ssl

from splnode.endpoint import Endpoint
from splnode.net.securing import secure
from splnode.net.tls import Tls


def test_one_that_is_given_is_used() -> None:
    tls = Tls()
    assert secure(tls) is tls


def test_else_the_systems_authorities_and_the_host_name_count() -> None:
    found = secure(None)
    context = found.client()
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    assert secure(None) is found
    assert found.dialled(Endpoint("tcp", "10.0.0.2", 1)) == Endpoint("tls", "10.0.0.2", 1)
