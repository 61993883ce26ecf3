"""The client's part of the handshake: which hash it presents, and what it makes of the answers.

```
1. hash only ─────────────────────► BOTH, CLIENT: done
   │ NONE                                ▲
   ▼                                     │
2. text, and the hash we were told, if its protocol has our name; else our own hash
   │ NONE                                │
   ▼                                     │
3. text, and the hash we were told (where 2 sent our own) ──► NONE: refused
```

Step 3 is for peers that answer NONE to any other hash than theirs (yaqd); step 2 comes first, since with a
port of many services their first guess may be another service than ours.
"""

import json
from typing import Final

from splnode.avro.protocol import Protocol
from splnode.errors import CallError, Code, RemoteWireError
from splnode.limits import Limits
from splnode.wire.directory import parse
from splnode.wire.handshake import HandshakeRequest, HandshakeResponse, Match, write_request

WHOSE: Final = "the server's protocol"


class Greeting:
    """What one client has said of itself and was told. `server` and `server_hash` are there once it was accepted."""

    __slots__ = ("_limits", "_own", "_presented", "_told", "server", "server_hash")

    def __init__(self, own: Protocol, remembered: tuple[bytes, Protocol] | None, limits: Limits) -> None:
        self._own = own
        self._limits = limits
        # The hash that goes out, and the protocol it stands for where the server says BOTH.
        self._presented: tuple[bytes, Protocol] = remembered or (own.md5, own)
        self._told: tuple[bytes, Protocol] | None = None
        self.server: Protocol | None = None
        self.server_hash = b""

    def request(self, attempt: int) -> bytes:
        """The HandshakeRequest of this attempt, from 1 on."""
        text = self._own.text if attempt > 1 else None
        return write_request(HandshakeRequest(self._own.md5, text, self._presented[0]))

    def learn(self, response: HandshakeResponse) -> Protocol | None:
        """The server's protocol; None for NONE. RemoteWireError for a text that is no protocol."""
        text, said = response.server_protocol, response.server_hash
        told = None
        if text is not None:
            # Only read here, and told to nobody but the server, whose own it is: our parser's word is enough.
            protocol = self._own if text == self._own.text else parse(text, WHOSE, self._limits)
            told = (said or protocol.md5, protocol)
        if response.match is Match.NONE:
            self._told = told or self._told  # avsc says it once, and not again to a client that has it right
            return None
        if told is None:
            if response.match is Match.CLIENT:
                raise RemoteWireError("the server answers CLIENT without its protocol")
            told = self._presented
        self._presented = told
        self.server_hash, self.server = told
        return told[1]

    def again(self, attempt: int) -> bool:
        """After a NONE to this attempt: whether another one makes sense. It presents what may help."""
        own, told = self._own, self._told
        if attempt == 1:
            alike = told is not None and (not own.messages or told[1].short_name == own.short_name)
            self._presented = told if told is not None and alike else (own.md5, own)
            return True
        if attempt == 2 and told is not None and told[0] != self._presented[0]:
            self._presented = told
            return True
        self._presented = (own.md5, own)
        return False

    def refusal(self) -> CallError:
        """Why nothing can be called there."""
        told = f"it speaks {self._told[1].name}" if self._told else "it does not say what it speaks"
        text = f"the server refused our protocol {self._own.name}; {told}"
        return CallError(Code.FAILED_PRECONDITION, text, started=False)


def nameless(service: str) -> Protocol:
    """A protocol of that full or short name without messages: whoever comes with it is told the server's own text.

    SchemaError for what cannot be one.
    """
    namespace, _, short = service.rpartition(".")
    document = {"protocol": short or "Discovery", "types": [], "messages": {}}
    return Protocol.parse(json.dumps(document | ({"namespace": namespace} if namespace else {})), referee=False)
