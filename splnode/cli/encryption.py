"""Options about TLS: whom a command believes, and what it proves itself by."""

import argparse
import os

from splnode.errors import ConfigError
from splnode.net.securing import Securing

FILES = ("certificate", "key", "authority", "mesh_key")
"""What the options give, by the names of `[tls]`."""


def add_options(parser: argparse.ArgumentParser, whose: str = "this command") -> None:
    """The options, in a group of their own."""
    group = parser.add_argument_group("encryption")
    group.add_argument(
        "--mesh-key", metavar="FILE", help="the key that all nodes of the mesh have (or SPLNODE_MESH_KEY names it)"
    )
    group.add_argument(
        "--cert",
        metavar="FILE",
        dest="certificate",
        help=f"the certificate of {whose}; its .key and authority.pem are beside it (or SPLNODE_CERT names it)",
    )
    group.add_argument("--key", metavar="FILE", help="its key, where that is elsewhere")
    group.add_argument(
        "--ca", metavar="FILE", dest="authority", help="whose certificates are believed (or SPLNODE_CA names it)"
    )


def given(args: argparse.Namespace) -> dict[str, str]:
    """What the options say, and where they say nothing the environment, by the names of `[tls]`."""
    found = {name: value for name in FILES if (value := getattr(args, name, None))}
    if found:
        return found
    variables = {"mesh_key": "SPLNODE_MESH_KEY", "certificate": "SPLNODE_CERT", "authority": "SPLNODE_CA"}
    return {name: value for name, variable in variables.items() if (value := os.environ.get(variable))}


def made_of(files: dict[str, str]) -> Securing | None:
    """A client's TLS; None where nothing is given: then the authorities of the system are believed. UsageError."""
    if not files:
        return None
    from splnode.cli.failure import UsageError
    from splnode.net.tls import Tls

    try:
        return Tls(
            certificate=files.get("certificate"),
            key=files.get("key"),
            authority=files.get("authority"),
            mesh_key=files.get("mesh_key"),
        )
    except ConfigError as error:
        raise UsageError(str(error)) from None
