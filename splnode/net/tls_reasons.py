"""What went wrong with TLS, in words that name the fix. It needs no `ssl`: errors are told by their own fields."""

from typing import Any, Final

NOT_TLS: Final = "this port does not speak TLS: use tcp:// (or http+avro://), or give its node a certificate"
CLOSED: Final = (
    "the connection was closed in the TLS handshake: either it speaks no TLS (use tcp://), or it does not accept us"
    " (--cert or --mesh-key); its log says which"
)
UNKNOWN: Final = "its certificate is of an authority that is not ours: give its certificate with --ca (tls.authority)"

REFUSED: Final = (
    "the connection was closed after the TLS handshake: it may want a certificate of ours (--cert or --mesh-key), or"
    " not accept the one we have; its log says which"
)
GONE: Final = "the peer ended the connection in the handshake: it may not believe our certificate"

OUT_OF_TIME: Final = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED"""
_VERIFY: Final = {
    9: "its certificate is not valid yet: is a clock wrong?",
    10: "its certificate has expired: renew it (splnode cert node), or is a clock wrong?",
    18: UNKNOWN,
    19: UNKNOWN,
    20: UNKNOWN,
    21: UNKNOWN,
    62: "its certificate is for another host name",
    64: "its certificate is for another address",
}  # X509_V_ERR_*: openssl/x509_vfy.h
_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": "it wants a certificate of ours: give one with --cert or --mesh-key ([tls])",
    "HANDSHAKE_FAILURE": "it has no cipher in common with us, or wants a certificate of ours (--cert, --mesh-key)",
    "UNKNOWN_CA": "it does not know the authority of our certificate",
    "CERTIFICATE_EXPIRED": "our certificate has expired: renew it (splnode cert node)",
    "BAD_CERTIFICATE": "it does not accept our certificate",
    "CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "UNSUPPORTED_CERTIFICATE": "our certificate is not for this use (extended key usage), it says",
    "DECRYPT_ERROR": "it could not check our signature",
    "PROTOCOL_VERSION": "it has no version of TLS in common with us",
}
_NO_COMMON: Final = ("HANDSHAKE_FAILURE", "PROTOCOL_VERSION")
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


def is_tls(error: BaseException | None) -> bool:
    """Whether it is an error of `ssl`."""
    return type(error).__module__ == "ssl"


def kind_of(error: BaseException) -> str:
    """What is counted of an error that ended a client's handshake: a word for whose fault it was.

    `certificate`: theirs is not accepted, or missing; `refused`: they do not accept ours; `gone`: they said nothing;
    `protocol`: anything else, such as no version or cipher in common.
    """
    reason = getattr(error, "reason", None) or ""
    if getattr(error, "verify_code", 0) or reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "certificate"
    if any(reason.endswith(f"ALERT_{alert}") for alert in _ALERTS if alert not in _NO_COMMON):
        return "refused"
    ended = not is_tls(error) and isinstance(error, ConnectionError)
    return "gone" if ended or "EOF" in type(error).__name__ else "protocol"


def explain(error: Any, closed: str = CLOSED) -> str:
    """A sentence for an error of `ssl`, or another that ended a handshake; `closed` for one that says nothing."""
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return closed
    if not is_tls(error):
        return getattr(error, "strerror", None) or str(error)
    code = getattr(error, "verify_code", 0)
    if code:
        return _VERIFY.get(code) or f"its certificate is not accepted: {error.verify_message}"
    reason = error.reason or ""
    if reason in _NO_TLS:
        return NOT_TLS
    for alert, text in _ALERTS.items():
        if reason.endswith(f"ALERT_{alert}"):
            return text
    if "EOF" in type(error).__name__ or "UNEXPECTED_EOF" in reason:
        return closed
    return f"TLS failed: {reason.lower().replace('_', ' ') or error}"
