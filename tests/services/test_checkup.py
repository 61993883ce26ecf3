"""splnode.services.checkup: what the doctor says of a node's certificates, and of who may call."""

import time
from pathlib import Path

import msgspec
import pytest

from splnode.access.keeper import Keeper
from splnode.config import AccessConfig, Config, NodeConfig
from splnode.discovery.doctor import Finding
from splnode.endpoint import Endpoint
from splnode.net import tls_mint as mint
from splnode.net.tls import Tls
from splnode.services.checkup import check_up
from tests.net.certificates import Mesh, mesh_key, write

NOW = time.time()
DAY = 86_400.0


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1, found
    return found[0]


def test_which_whose_and_until_when(mesh: Mesh) -> None:
    certificate = str(mesh.certificate("kitchen", ("shop.example.org",)))
    found = only(check_up(Tls(certificate=certificate)))
    assert found.grade == "GOOD"
    assert f"{certificate}: of the node kitchen of the mesh home, for shop.example.org, good from 20" in found.text
    assert check_up(None) == []


def test_a_mesh_key_has_no_end(tmp_path: Path) -> None:
    key = mesh_key(tmp_path)
    found = only(check_up(Tls(mesh_key=key, node="kitchen"), now=NOW + 1e10))
    assert found.grade == "GOOD" and f"{key}: a mesh key of key-" in found.text


@pytest.mark.parametrize(
    ("at", "grade", "said", "fix"),
    [
        (340 * DAY, "NOTE", "24 days are left", "renew it"),
        (400 * DAY, "BAD", "it has expired", "splnode cert node NAME --force"),
        (-3 * DAY, "BAD", "not yet, by this host's clock (20", "timedatectl set-ntp true"),
    ],
)
def test_its_dates_and_the_clock(mesh: Mesh, at: float, grade: str, said: str, fix: str) -> None:
    found = only(check_up(mesh.tls("kitchen"), now=NOW + at))
    assert (found.grade, said in found.text, fix in found.fix) == (grade, True, True), found


def test_the_authority_ends_too(mesh: Mesh) -> None:
    tls = mesh.tls("kitchen")
    for at, grade in ((3640 * DAY, "NOTE"), (3660 * DAY, "BAD")):
        found = check_up(tls, now=NOW + at)[-1]
        assert (found.grade, "authority.pem end" in found.text, "cert init" in found.fix) == (grade, True, True)


def test_a_chain_that_does_not_fit(mesh: Mesh) -> None:
    """Made by another authority of the same name: what `cert init --force` leaves behind."""
    certificate = mesh.certificate("kitchen")
    write(mesh.ca, mint.pem(mint.new_authority("home").certificate), 0o644)
    found = check_up(Tls(certificate=str(certificate)))
    assert [each.grade for each in found] == ["GOOD", "BAD"]
    assert (
        "kitchen.pem: others would not accept it: its certificate is of an authority that is not ours" in found[1].text
    )
    assert "of one mesh" in found[1].fix


def test_an_authority_that_is_not_there(mesh: Mesh, tmp_path: Path) -> None:
    certificate = mesh.certificate("kitchen")
    both = certificate.read_bytes() + certificate.with_suffix(".key").read_bytes()
    public = write(tmp_path / "public" / "all.pem", both)
    found = check_up(Tls(certificate=str(public)))
    assert [each.grade for each in found] == ["GOOD", "BAD"]
    assert "its authority is not here" in found[1].text and "put authority.pem beside it" in found[1].fix


def test_files_that_are_no_good_any_more(mesh: Mesh) -> None:
    tls = mesh.tls("kitchen")
    key = mesh.folder / "kitchen.key"
    key.chmod(0o644)
    first = check_up(tls)[0]
    assert first.grade == "BAD" and "goes on with what it has" in first.text and f"chmod 600 {key}" in first.text
    key.chmod(0o600)
    assert [each.grade for each in check_up(tls)] == ["GOOD"]
    mesh.certificate("cellar").replace(mesh.folder / "kitchen.pem")
    (mesh.folder / "cellar.key").replace(key)
    assert "is of the node cellar, and this one is kitchen" in check_up(tls)[0].text


def test_further_certificates(mesh: Mesh, tmp_path: Path) -> None:
    away = Mesh(tmp_path, "away")
    paths = [str(away.certificate(name, hosts)) for name, hosts in (("a", ("a.org",)), ("b", ("a.org",)), ("c", ()))]
    found = check_up(Tls(certificate=str(mesh.certificate("kitchen")), certificates=paths))
    assert [each.grade for each in found] == ["GOOD", "GOOD", "GOOD", "NOTE", "GOOD", "NOTE"]
    assert all("nobody is shown it" in found[place].text for place in (3, 5))


def test_what_is_not_encrypted(mesh: Mesh) -> None:
    far, near = Endpoint("tcp", "0.0.0.0", 9090), Endpoint("tcp", "127.0.0.1", 1)
    found = only(check_up(None, [far, near]))
    assert (found.check, found.grade) == ("encryption", "NOTE") and "tcp://0.0.0.0:9090: everybody" in found.text
    secure = far.replace(scheme="tls")
    assert [each.check for each in check_up(mesh.tls("kitchen"), [secure])] == ["certificate"]
    assert check_up(mesh.tls("kitchen", plain="both"), [secure])[0].check == "encryption"
    note = only(check_up(mesh.believer()))
    assert note.grade == "NOTE" and "authority.pem" in note.text


def test_who_may_call_what(tmp_path: Path) -> None:
    policy = write(tmp_path / "policy.toml", b'then = "default"\n')
    config = Config(node=NodeConfig(directory=str(tmp_path)), access=AccessConfig(policy=str(policy)))
    keeper = Keeper(msgspec.structs.replace(config))
    try:
        found = only(check_up(None, keeper=keeper))
        assert (found.check, found.grade) == ("access", "GOOD") and str(policy) in found.text
        policy.write_text("then = 7")
        found = only(check_up(None, keeper=keeper))
        assert found.grade == "BAD" and "stays as it was" in found.text and str(policy) in found.text
    finally:
        keeper.close()
