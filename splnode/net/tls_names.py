"""Who a certificate says that somebody is: `spiffe://MESH/node/ID` among its alternative names.

MESH is the name of the mesh, in the certificate of its authority too (`spiffe://MESH`), ID a node's. (SPIFFE-ID, 2;
X509-SVID, 2 and 4)
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

MESH: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
"""A trust domain. (SPIFFE-ID, 2.1)"""
_NAME: Final = re.compile(r"spiffe://(?P<mesh>[a-z0-9._-]{1,255})(?:/node/(?P<node>[A-Za-z0-9][A-Za-z0-9._-]{0,62}))?")


def node_name(mesh: str, node: str) -> str:
    """The name of a node; with "" as the node that of the mesh's authority."""
    return f"spiffe://{mesh}/node/{node}" if node else f"spiffe://{mesh}"


def split_name(name: str) -> tuple[str, str]:
    """The mesh and the node of a name, ("", "") if it is none of ours. The node of an authority is ""."""
    found = _NAME.fullmatch(name)
    return (found["mesh"], found["node"] or "") if found is not None else ("", "")


def names_in(certificate: Mapping[str, Any]) -> tuple[str, str]:
    """The mesh and the node of a certificate as ssl shows it: ("", "") if it has no such name, or more than one URI.

    (X509-SVID, 5.2: a certificate with several URIs is to be refused.)
    """
    alternatives: Iterable[tuple[str, str]] = certificate.get("subjectAltName", ())
    found = [value for kind, value in alternatives if kind == "URI"]
    return split_name(found[0]) if len(found) == 1 else ("", "")


def certificate_name(ssl_object: Any) -> str | None:
    """`spiffe://MESH/node/ID` of the peer, where its certificate was checked and is of our own mesh; else None."""
    mesh, node = names_in(ssl_object.getpeercert() or {})
    return node_name(mesh, node) if node and mesh == getattr(ssl_object.context, "mesh", "") else None
