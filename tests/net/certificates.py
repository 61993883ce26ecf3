"""Meshes for tests: authorities and certificates in a folder, good ones and others."""

import datetime
import functools
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from splnode.net import tls_mint as mint
from splnode.net.tls import Tls

HERE = ("localhost", "127.0.0.1")


@functools.cache
def authority(mesh: str) -> mint.Authority:
    return mint.new_authority(mesh)


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    """Puts it there in one step, as whoever renews a certificate should."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.chmod(mode)
    fresh.rename(path)
    return path


class Mesh:
    """The folder of one mesh."""

    def __init__(self, folder: Path, name: str = "home") -> None:
        self.folder = folder / name
        self.authority = authority(name)
        self.ca = write(self.folder / "authority.pem", mint.pem(self.authority.certificate), 0o644)

    def certificate(self, node: str, hosts: tuple[str, ...] = HERE, *, days: int = 365, begins: int = -1) -> Path:
        """`NODE.pem` and `NODE.key`, valid from `begins` days on for `days`; the certificate's path."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        begin = now + begins * mint.DAY
        made = mint._certificate(self.authority, node, key, hosts, begin, begin + days * mint.DAY)
        return self.put(node, made, key)

    def put(self, node: str, made: x509.Certificate, key: mint.Key) -> Path:
        write(self.folder / f"{node}.key", mint.key_pem(key))
        return write(self.folder / f"{node}.pem", mint.pem(made), 0o644)

    def tls(self, node: str, **settings: str) -> Tls:
        path = self.folder / f"{node}.pem"
        if not path.exists():
            self.certificate(node)
        return Tls(certificate=str(path), **settings)  # type: ignore[arg-type]  # what the test gives is one of the words

    def believer(self) -> Tls:
        """A client that has no certificate."""
        return Tls(authority=str(self.ca))


def mesh_key(folder: Path, name: str = "mesh.key") -> str:
    return str(write(folder / name, mint.new_mesh_key()))
