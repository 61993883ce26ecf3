"""splnode.net.tls_reasons: errors of TLS in words that name the fix."""

import ssl

import pytest

from splnode.net.tls_reasons import CLOSED, GONE, NOT_TLS, explain, is_tls, kind_of


def failed(reason: str, code: int = 0, message: str = "") -> ssl.SSLError:
    error = ssl.SSLCertVerificationError(1, reason) if code else ssl.SSLError(1, reason)
    error.reason = reason
    if code:
        error.verify_code, error.verify_message = code, message  # type: ignore[attr-defined]  # ssl sets them in C
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (failed("CERTIFICATE_VERIFY_FAILED", 10), "has expired"),
        (failed("CERTIFICATE_VERIFY_FAILED", 9), "not valid yet"),
        (failed("CERTIFICATE_VERIFY_FAILED", 20), "of an authority that is not ours"),
        (failed("CERTIFICATE_VERIFY_FAILED", 62), "another host name"),
        (failed("CERTIFICATE_VERIFY_FAILED", 26, "unsuitable purpose"), "not accepted: unsuitable purpose"),
        (failed("WRONG_VERSION_NUMBER"), NOT_TLS),
        (failed("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "wants a certificate of ours"),
        (failed("TLSV1_ALERT_UNKNOWN_CA"), "does not know the authority of our certificate"),
        (failed("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "our certificate has expired"),
        (failed("UNEXPECTED_EOF_WHILE_READING"), CLOSED),
        (failed("NO_SHARED_CIPHER"), "TLS failed: no shared cipher"),
        (ConnectionResetError(), CLOSED),
        (OSError(113, "No route to host"), "No route to host"),
    ],
)
def test_the_sentence_of_an_error(error: OSError, words: str) -> None:
    assert words in explain(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (failed("CERTIFICATE_VERIFY_FAILED", 10), "certificate"),
        (failed("PEER_DID_NOT_RETURN_A_CERTIFICATE"), "certificate"),
        (failed("TLSV1_ALERT_UNKNOWN_CA"), "refused"),
        (failed("SSLV3_ALERT_HANDSHAKE_FAILURE"), "protocol"),
        (failed("UNSUPPORTED_PROTOCOL"), "protocol"),
        (ssl.SSLEOFError(8, "EOF"), "gone"),
        (ConnectionResetError(), "gone"),
        (OSError("its handshake has no end"), "protocol"),
    ],
)
def test_what_is_counted_of_a_client(error: OSError, kind: str) -> None:
    assert kind_of(error) == kind


def test_a_server_says_it_otherwise() -> None:
    assert explain(ConnectionResetError(), GONE) == GONE


def test_what_is_of_tls() -> None:
    assert is_tls(ssl.SSLError(1, "x"))
    assert not is_tls(OSError(1, "x"))
    assert not is_tls(None)
