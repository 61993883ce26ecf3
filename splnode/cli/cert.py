"""Makes what a mesh is encrypted with: an authority, certificates of nodes, or one key for all.

  splnode cert init               the authority: authority.pem, which everybody may have, and authority.key, nobody
  splnode cert node kitchen       a certificate of a node: kitchen.pem and kitchen.key
  splnode cert key                or, instead of both, one key that all nodes have: mesh.key
  splnode cert show kitchen.pem   what is in a certificate

Then `splnode serve --cert kitchen.pem --listen tcp://0.0.0.0:9090`, or with `--mesh-key mesh.key`. A file that exists
is not overwritten without --force; `cert node --force` renews a certificate, and running nodes take the new one.
"""

import argparse
import os
import socket
from pathlib import Path
from typing import Any, Final

from splnode.cli import output
from splnode.cli.failure import UsageError, say
from splnode.errors import ConfigError

AUTHORITY: Final = "authority"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `cert`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="init|node|key|show")
    init = verbs.add_parser("init", help="make the authority of a mesh", allow_abbrev=False)
    init.add_argument("mesh", metavar="MESH", nargs="?", default="mesh", help="the mesh's name (default: mesh)")
    init.add_argument("--days", type=_days, default=3650, metavar="N", help="how long it is good (default: 3650)")
    node = verbs.add_parser("node", help="make a certificate of a node", allow_abbrev=False)
    node.add_argument("name", metavar="NAME", help="the node's id, by which others know it")
    node.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="HOST",
        help="a name or address for clients that look at it, such as curl; besides NAME, this host's and localhost",
    )
    node.add_argument("--days", type=_days, default=365, metavar="N", help="how long it is good (default: 365)")
    key = verbs.add_parser("key", help="make a mesh key", allow_abbrev=False)
    key.add_argument("file", metavar="FILE", nargs="?", default="mesh.key", help="default: mesh.key")
    for verb in (init, node):
        verb.add_argument("--dir", metavar="DIR", default=".", help="where the files are (default: here)")
    for verb in (init, node, key):
        verb.add_argument("--force", action="store_true", help="overwrite what exists")
    show = verbs.add_parser("show", help="show what is in a certificate", allow_abbrev=False)
    show.add_argument("file", metavar="FILE")


def run(args: argparse.Namespace) -> int:
    """Makes or shows; one JSON object on stdout says what. UsageError for a file that exists or cannot be used."""
    try:
        found = {"init": _init, "node": _node, "key": _key, "show": _show}[args.verb](args)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    except ConfigError as error:
        raise UsageError(str(error)) from None
    output.emit(found)
    return 0


def _init(args: argparse.Namespace) -> dict[str, Any]:
    from splnode.net import tls_mint
    from splnode.net.tls_names import MESH

    if not MESH.fullmatch(args.mesh):
        raise UsageError(f"{args.mesh!r} names no mesh: small letters, digits, dots, dashes and underscores")
    folder = Path(args.dir)
    authority = tls_mint.new_authority(args.mesh, args.days)
    files = {
        folder / f"{AUTHORITY}.key": (tls_mint.key_pem(authority.key), 0o600),
        folder / f"{AUTHORITY}.pem": (tls_mint.pem(authority.certificate), 0o644),
    }
    _write(files, force=args.force)
    say(f"keep {folder / AUTHORITY}.key where no node runs: who has it can be any node; next: splnode cert node NAME")
    return {"mesh": args.mesh, "authority": str(folder / f"{AUTHORITY}.pem"), "until": _until(authority.certificate)}


def _node(args: argparse.Namespace) -> dict[str, Any]:
    from splnode.config import checked_id
    from splnode.net import tls_mint

    name, folder = checked_id(args.name), Path(args.dir)
    if name == AUTHORITY:
        raise UsageError(f"a node cannot be called {AUTHORITY}: its files would be those of the authority")
    pem, key = folder / f"{AUTHORITY}.pem", folder / f"{AUTHORITY}.key"
    if not pem.exists() or not key.exists():
        raise UsageError(f"{pem if not pem.exists() else key}: there is none; make the authority: splnode cert init")
    authority = tls_mint.load_authority(pem.read_bytes(), key.read_bytes())
    hosts = [*args.host, *_hosts(name)]
    made, secret = tls_mint.issue(authority, name, dict.fromkeys(hosts), args.days)
    files = {
        folder / f"{name}.key": (tls_mint.key_pem(secret), 0o600),
        folder / f"{name}.pem": (tls_mint.pem(made), 0o644),
    }
    _write(files, force=args.force)
    say(f"next: splnode serve --cert {folder / name}.pem --listen tcp://0.0.0.0:9090")
    return {
        "node": name,
        "mesh": authority.mesh,
        "certificate": str(folder / f"{name}.pem"),
        "key": str(folder / f"{name}.key"),
        "hosts": list(dict.fromkeys(hosts)),
        "until": _until(made),
    }


def _key(args: argparse.Namespace) -> dict[str, Any]:
    from splnode.net import tls_mint

    path = Path(args.file)
    secret = tls_mint.new_mesh_key()
    _write({path: (secret, 0o600)}, force=args.force)
    say(f"next, on every node: splnode serve --mesh-key {path} --listen tcp://0.0.0.0:9090")
    return {"key": str(path), "mesh": tls_mint.authority_of(secret.strip()).mesh}


def _show(args: argparse.Namespace) -> dict[str, Any]:
    from cryptography import x509

    text = Path(args.file).read_bytes()
    try:
        found = x509.load_pem_x509_certificate(text)
    except ValueError:
        raise UsageError(f"{args.file}: there is no certificate in it (PEM)") from None
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    return {
        "names": names.get_values_for_type(x509.UniformResourceIdentifier),
        "hosts": [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))],
        "subject": found.subject.rfc4514_string(),
        "authority": found.issuer.rfc4514_string(),
        "since": found.not_valid_before_utc.strftime(_MOMENT),
        "until": _until(found),
    }


_MOMENT: Final = "%Y-%m-%dT%H:%M:%SZ"


def _until(certificate: Any) -> str:
    return str(certificate.not_valid_after_utc.strftime(_MOMENT))


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 36_500):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of days from 1 to 36500")
    return int(text)


def _hosts(name: str) -> list[str]:
    """What a client may call the node: itself and this host, as far as a certificate can say it."""
    own = socket.gethostname()
    return [each for each in (name, own, "localhost") if each.replace("-", "").replace(".", "").isalnum()] + [
        "127.0.0.1",
        "::1",
    ]


def _write(files: dict[Path, tuple[bytes, int]], *, force: bool) -> None:
    """Writes all, each in one step, or none where one exists."""
    for path in files:
        if path.exists() and not force:
            raise UsageError(f"{path} exists: --force overwrites it")
    for path, (content, mode) in files.items():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
