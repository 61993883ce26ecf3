"""splnode.net.tls_mint: authorities and certificates."""

import datetime
import ssl

import pytest
from cryptography import x509

from splnode.errors import ConfigError
from splnode.net import tls_mint as mint

SECRET = b"a mesh key of more than 32 bytes: 0123456789"


def san(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_a_certificate_names_its_node_and_hosts() -> None:
    authority = mint.new_authority("home")
    made, _ = mint.issue(authority, "kitchen", ["kitchen.local", "10.0.0.2", "::1"], days=10)
    assert san(made).get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://home/node/kitchen"]
    assert san(made).get_values_for_type(x509.DNSName) == ["kitchen.local"]
    assert list(map(str, san(made).get_values_for_type(x509.IPAddress))) == ["10.0.0.2", "::1"]
    made.verify_directly_issued_by(authority.certificate)
    left = made.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert left.days in (9, 10)


def test_no_certificate_outlives_its_authority() -> None:
    authority = mint.new_authority("home", days=5)
    made, _ = mint.issue(authority, "kitchen", days=365)
    assert made.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_one_key_gives_one_authority_and_another_another() -> None:
    first, again, other = (mint.authority_of(each) for each in (SECRET, SECRET, SECRET + b"!"))
    assert mint.pem(first.certificate) == mint.pem(again.certificate)
    assert first.mesh.startswith("key-") and first.mesh == again.mesh != other.mesh
    assert mint.pem(first.certificate) != mint.pem(other.certificate)


def test_the_key_cannot_be_read_out_of_the_authority() -> None:
    shown = mint.pem(mint.authority_of(SECRET).certificate)
    assert SECRET not in shown and SECRET[:8] not in shown


def test_what_a_key_mints_is_of_its_authority_alone() -> None:
    minted, again = mint.mint(SECRET, "kitchen"), mint.mint(SECRET, "kitchen")
    made = x509.load_pem_x509_certificate(minted.certificate)
    made.verify_directly_issued_by(mint.authority_of(SECRET).certificate)
    assert san(made).get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://{minted.mesh}/node/kitchen"]
    assert minted.key != again.key, "its own key is new each time"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    minted.load_into(context)


def test_an_authority_comes_back_from_its_files() -> None:
    authority = mint.new_authority("home")
    loaded = mint.load_authority(mint.pem(authority.certificate), mint.key_pem(authority.key))
    assert loaded.mesh == "home"
    mint.issue(loaded, "kitchen")[0].verify_directly_issued_by(authority.certificate)


def test_what_is_no_authority() -> None:
    authority, other = mint.new_authority("home"), mint.new_authority("home")
    node, key = mint.issue(authority, "kitchen")
    with pytest.raises(ConfigError, match="not that of the authority"):
        mint.load_authority(mint.pem(authority.certificate), mint.key_pem(other.key))
    with pytest.raises(ConfigError, match="no name spiffe://MESH"):
        mint.load_authority(mint.pem(node), mint.key_pem(key))
    with pytest.raises(ConfigError, match="no authority of a mesh"):
        mint.load_authority(b"x", b"y")


def test_a_host_that_no_certificate_can_name() -> None:
    with pytest.raises(ConfigError, match="'küche' is no host name"):
        mint.issue(mint.new_authority("home"), "kitchen", ["küche"])


def test_mesh_keys_are_long_and_new() -> None:
    assert len(mint.new_mesh_key().strip()) == 44
    assert mint.new_mesh_key() != mint.new_mesh_key()
