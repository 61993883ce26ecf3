"""Who a call is for, and how that is known.

| name | who | its groups |
|---|---|---|
| `uid:1000` | the process at the other end of a Unix socket | `own` (the node's own user, and root) or `unix` |
| `spiffe://MESH/node/ID` | who has a certificate of this mesh | `mesh` |
| `token:NAME` | who brings a token of this node | those that the token was made with |
| `loopback` | whoever connects from this host by TCP | `loopback` |
| `anyone` | whoever else connects | `insecure` where the link is plain, or none |
| `node` | this process itself | `own` |

Everybody is in the group `anyone` too. Who somebody is says nothing of what they may do: that is the policy's
(`splnode.access`). A call carries the identity that it is made for in its metadata, IDENTITY_KEY, as a handler's calls
carry on the one it serves; that is believed of this node's own processes and of members of the mesh.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

IDENTITY_KEY: Final = "spl-identity"
"""Metadata: who the call is for: a name and its groups, with blanks between them."""
AUTHORIZATION_KEY: Final = "authorization"
"""Metadata: `Bearer TOKEN`, as in the header of that name. (RFC 6750, 2.1)"""

OWN: Final = "own"
UNIX: Final = "unix"
LOOPBACK: Final = "loopback"
MESH: Final = "mesh"
INSECURE: Final = "insecure"
ANYONE: Final = "anyone"
GROUPS: Final = (OWN, UNIX, LOOPBACK, MESH, INSECURE, ANYONE)
"""The groups that come by how somebody has come; a policy and its tokens may have others."""

LONGEST: Final = 1024
"""Bytes of an identity in metadata: a certificate's name has 255 at most, and a few groups stand behind it."""


def _is_word(text: str) -> bool:
    return bool(text) and text.isprintable() and " " not in text


class Identity:
    """A `name`, its `groups`, and `how` it is known: `unix`, `certificate`, `token`, `process`, `vouched`; or how it
    came: `tcp`, `tls`.

    `text` is what IDENTITY_KEY has of it. Equal by value, hashable; not to be changed. ValueError for a name or a
    group with blanks or control characters in it, or none at all.
    """

    __slots__ = ("groups", "how", "name", "text")

    def __init__(self, name: str, groups: Iterable[str] = (), how: str = "") -> None:
        self.name = name
        self.groups = frozenset((*groups, ANYONE))
        self.how = how
        words = (name, *sorted(self.groups))
        if not all(_is_word(word) for word in words):
            raise ValueError(f"an identity has names without blanks, not {words!r:.200}")
        self.text = " ".join(words).encode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.text == other.text and self.how == other.how

    def __hash__(self) -> int:
        return hash((self.text, self.how))

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, {sorted(self.groups)}, {self.how!r})"


NODE: Final = Identity("node", (OWN,), "process")
"""This process itself: who calls outside of any call that is served."""
NOBODY: Final = Identity(ANYONE, (), "")
"""Somebody of whom nothing is known."""
UNREADABLE: Final = Identity("unreadable", (), "vouched")
"""Who is named in a way that cannot be read: the policy has nothing for that name but what is anyone's."""


def bearer(token: str) -> dict[str, bytes]:
    """The metadata by which a call brings a token."""
    return {AUTHORIZATION_KEY: f"Bearer {token}".encode()}


def identity_for(peer: Identity, metadata: Mapping[str, bytes]) -> Identity:
    """Who a call is for that `peer` brings with such metadata: itself, or whom it names if it is believed."""
    text = metadata.get(IDENTITY_KEY)
    if text is None or text == peer.text:
        return peer
    if OWN in peer.groups:
        return _read(text, True)
    return _read(text, False) if MESH in peer.groups else peer


@lru_cache(1024)
def _read(text: bytes, own: bool) -> Identity:
    """Of this node itself the groups are known too. Whomever another node names is of the mesh by that, unless it was
    nobody there: else a node that serves anybody would make members of them."""
    if text == NODE.text and own:
        return NODE
    if len(text) > LONGEST:
        return UNREADABLE
    try:
        name, *groups = text.decode().split(" ")
        who = Identity(name, groups, "vouched")
    except ValueError:
        return UNREADABLE
    if own:
        return who
    return Identity(name, () if who.groups == NOBODY.groups else (MESH,), "vouched")
