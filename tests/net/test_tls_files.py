"""splnode.net.tls_files: what is in the files of TLS. What a node makes of them is in test_tls.py."""

import ssl
from pathlib import Path

import pytest

from splnode.errors import ConfigError
from splnode.net.tls_files import check_mode, pair, read_certificate, read_secret, since, stamp
from tests.net.certificates import Mesh, write


def test_what_a_certificate_says(tmp_path: Path) -> None:
    path = Mesh(tmp_path).certificate("kitchen", ("Shop.example.org", "*.example.net", "10.0.0.1"), days=2)
    found = read_certificate(path)
    assert found.file == str(path)
    assert (found.mesh, found.node) == ("home", "kitchen")
    assert found.hosts == ("shop.example.org", "*.example.net", "10.0.0.1")
    assert found.expires - found.begins == 2 * 86_400


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("shop.example.org", True),
        ("example.org", False),
        ("a.example.net", True),
        ("a.b.example.net", False),
        ("example.net", False),
        (".example.net", True),  # asked by nobody
        ("net", False),
        ("", False),
    ],
)
def test_a_star_stands_for_one_label(tmp_path: Path, host: str, fits: bool) -> None:
    found = read_certificate(Mesh(tmp_path).certificate("kitchen", ("shop.example.org", "*.example.net")))
    assert found.is_for(host) is fits


def test_the_key_is_where_it_was_said_or_beside_or_in_the_same_file(tmp_path: Path) -> None:
    path = Mesh(tmp_path).certificate("kitchen")
    assert pair(str(path)).key == path.with_suffix(".key")
    assert pair(str(path), "/else/where").key == Path("/else/where")
    alone = write(tmp_path / "alone" / "all.pem", path.read_bytes())
    assert pair(str(alone)).key == alone
    with pytest.raises(ConfigError, match=r"all\.pem.*cannot be used"):
        pair(str(alone)).load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_a_file_that_was_written_has_another_stamp(tmp_path: Path) -> None:
    path = write(tmp_path / "a", b"1")
    before = stamp(path)
    assert stamp(path) == before
    write(path, b"2")
    assert stamp(path) != before
    assert stamp(tmp_path / "none") == (0, 0, 0)


def test_secrets_are_for_their_owner(tmp_path: Path) -> None:
    path = write(tmp_path / "mesh.key", b"x" * 32 + b"\n")
    assert read_secret(path) == b"x" * 32
    path.chmod(0o604)
    for read in (read_secret, check_mode):
        with pytest.raises(ConfigError, match="others can read or change it: chmod 600"):
            read(path)


def test_moments_as_people_read_them() -> None:
    assert since(0) == "1970-01-01 00:00:00 UTC"
