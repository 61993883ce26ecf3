"""Tokens and passwords that a client sends: nowhere that others could read them."""

from splnode.endpoint import PLAIN, Endpoint
from splnode.errors import CallError, Code, ConfigError
from splnode.identity import AUTHORIZATION_KEY
from splnode.net.securing import Securing
from splnode.rpc.call import Call


def check_bearer(call: Call, endpoint: Endpoint, tls: Securing | None) -> None:
    """CallError(UNAUTHENTICATED), before anything is sent, for a call with a token over a plain link between hosts."""
    if AUTHORIZATION_KEY in call.metadata and not is_private(endpoint, tls):
        text = f"{endpoint}: a token is not sent over an unencrypted link between hosts: use tls:// or https+avro://"
        raise CallError(Code.UNAUTHENTICATED, text, started=False)


def check_login(endpoint: Endpoint, tls: Securing | None) -> None:
    """The same for a name and a password; ConfigError where they could not be said at all."""
    if endpoint.framing != "sasl":
        raise ConfigError(f"{endpoint}: a login is proved by SASL: add ?framing=sasl, or bring a token")
    if not is_private(endpoint, tls):
        text = f"{endpoint}: a password is not sent over an unencrypted link between hosts: use tls://"
        raise CallError(Code.UNAUTHENTICATED, text, started=False)


def is_private(endpoint: Endpoint, tls: Securing | None) -> bool:
    """Whether nobody between can read what is said there: it stays on this host, or it is encrypted."""
    return endpoint.is_local or (tls.dialled(endpoint) if tls is not None else endpoint).scheme in PLAIN
