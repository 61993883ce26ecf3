"""Where a node can be reached, as one line of text.

```
tcp://127.0.0.1:9090          unix:///run/user/1000/splnode.sock
tcp://[::1]:9090              http+avro://127.0.0.1:8080/SPLDataService
tcp://host:9090?framing=spec&service=SPLDataService

tls://host:9090               https+avro://host:8443/SPLDataService
tls://host:9090?node=kitchen
```

`tls` and `https+avro` are `tcp` and `http+avro` over TLS. `node` is the node that must be there: its certificate has to
say so.
"""

import re
from typing import Final

from splnode.errors import ConfigError
from splnode.frozen import Frozen

SCHEMES = ("tcp", "tls", "unix", "http+avro", "https+avro")
SECURED: Final = {"tcp": "tls", "http+avro": "https+avro"}
"""The same over TLS."""
PLAIN: Final = {secure: plain for plain, secure in SECURED.items()}
"""The same without."""
HTTP: Final = ("http+avro", "https+avro")
FRAMINGS = ("netty", "spec", "sasl", "http")
_PLAIN: Final = re.compile(
    r"(?P<scheme>tcp|tls)://(?P<host>[A-Za-z0-9.-]+):(?P<port>\d{1,5})|unix://(?P<path>/[A-Za-z0-9._~/-]*)"
)
"""What most endpoints are: read and written alike without urllib, whose import takes as long as a call."""


class Endpoint(Frozen):
    """An address and what is fixed about the bytes spoken there.

    `framing` pins a listener or a client to one framing (None: a listener detects it, a client speaks
    Netty framing). `service` is the protocol meant by a peer that says nothing of its own. `node` is the id that the
    certificate of who is there must have (None: any node of the mesh).
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    framing: str | None = None
    service: str | None = None
    node: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Reads one line of text. ConfigError names what is wrong with it."""
        plain = _PLAIN.fullmatch(text)
        if plain is not None and plain["path"] is not None:
            return cls("unix", path=plain["path"])
        if plain is not None and int(plain["port"]) <= 65535:
            return cls(plain["scheme"], plain["host"].lower(), int(plain["port"]))
        from urllib.parse import unquote, urlsplit  # noqa: PLC0415 - see _PLAIN

        try:
            text.encode()
        except UnicodeEncodeError as error:  # an argument of the command line that is not UTF-8
            raise ConfigError(f"endpoint {text!r}: character {error.start} is no Unicode") from None
        try:
            url = urlsplit(text)
        except ValueError as error:  # a bracket of IPv6 that is not closed
            raise ConfigError(f"endpoint {text!r}: {error}") from None
        if url.scheme not in SCHEMES:
            raise ConfigError(f"endpoint {text!r}: it must begin with one of {', '.join(s + '://' for s in SCHEMES)}")
        if url.fragment:
            raise ConfigError(f"endpoint {text!r}: it has no part behind #")
        options = _options(text, url.query)
        if "node" in options and url.scheme not in PLAIN:
            raise ConfigError(f"endpoint {text!r}: only TLS proves which node is there: node needs tls or https+avro")
        if url.scheme == "unix":
            path = unquote(url.netloc + url.path)
            if not path.startswith("/"):
                raise ConfigError(f"endpoint {text!r}: a Unix socket needs an absolute path: unix:///run/splnode.sock")
            return cls("unix", path=path, framing=options.get("framing"), service=options.get("service"))
        try:
            host, port = url.hostname, url.port
        except ValueError as error:
            raise ConfigError(f"endpoint {text!r}: {error}") from None
        if not host or port is None:
            raise ConfigError(f"endpoint {text!r}: host and port are both needed: {url.scheme}://127.0.0.1:9090")
        if url.scheme in HTTP:
            if options.setdefault("framing", "http") != "http":
                raise ConfigError(f"endpoint {text!r}: {url.scheme} speaks http and no other framing")
        elif url.path not in ("", "/"):
            raise ConfigError(f"endpoint {text!r}: a {url.scheme} endpoint has no path (found {url.path!r})")
        return cls(url.scheme, host, port, url.path if url.scheme in HTTP else "", **options)

    @property
    def is_secure(self) -> bool:
        """True for what is spoken over TLS."""
        return self.scheme in PLAIN

    @property
    def is_local(self) -> bool:
        """True for what only this host can reach: a Unix socket or a loopback address."""
        if self.scheme == "unix" or self.host == "localhost":
            return True
        import ipaddress  # noqa: PLC0415 - for listeners, not for each call

        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        text = f"unix://{self.path}" if self.scheme == "unix" else f"{self.scheme}://{self.host}:{self.port}"
        if self.framing is None and self.service is None and self.node is None and _PLAIN.fullmatch(text):
            return text
        from urllib.parse import quote, urlencode  # noqa: PLC0415 - see _PLAIN

        options = {"framing": self.framing, "service": self.service, "node": self.node}
        if self.scheme in HTTP:
            del options["framing"]
        given = {key: value for key, value in options.items() if value}
        query = f"?{urlencode(given)}" if given else ""
        if self.scheme == "unix":
            return f"unix://{quote(self.path)}{query}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}{query}"


def _options(text: str, query: str) -> dict[str, str]:
    from urllib.parse import parse_qsl  # noqa: PLC0415 - see _PLAIN

    options: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in ("framing", "service", "node"):
            raise ConfigError(f"endpoint {text!r}: unknown option {key!r}; there are framing, service and node")
        if not value and key != "framing":
            raise ConfigError(f"endpoint {text!r}: the option {key} is empty; leave it out")
        options[key] = value
    framing = options.get("framing", "netty")
    if framing not in FRAMINGS:
        raise ConfigError(f"endpoint {text!r}: unknown framing {framing!r}; there are {', '.join(FRAMINGS)}")
    return options
