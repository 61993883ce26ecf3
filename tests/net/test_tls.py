"""splnode.net.tls: what one end says and asks, and the files it is made of."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from splnode.endpoint import Endpoint
from splnode.errors import ConfigError
from splnode.net import tls_mint as mint
from splnode.net.tls import Context, Tls, expiry
from tests.net.certificates import Mesh, mesh_key, write


def handshake(server: Tls, client: Tls, host: str = "localhost") -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a connection in memory. ssl.SSLError."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.client().wrap_bio(down, up, server_hostname=host),
        server.server().wrap_bio(up, down, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[1], ends[0]


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


class TestFiles:
    def test_key_and_authority_are_beside_the_certificate(self, mesh: Mesh) -> None:
        tls = Tls(certificate=str(mesh.certificate("kitchen")))
        assert tls.serves and (tls.mesh, tls.node) == ("home", "kitchen")
        assert tls.source.endswith("kitchen.pem")

    def test_all_in_one_file(self, mesh: Mesh, tmp_path: Path) -> None:
        certificate = mesh.certificate("kitchen")
        both = certificate.read_bytes() + certificate.with_suffix(".key").read_bytes()
        tls = Tls(certificate=str(write(tmp_path / "one" / "all.pem", both)), authority=str(mesh.ca))
        assert tls.node == "kitchen"

    @pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o602])
    def test_a_key_that_others_can_read_is_refused(self, mesh: Mesh, mode: int) -> None:
        path = mesh.certificate("kitchen")
        path.with_suffix(".key").chmod(mode)
        with pytest.raises(ConfigError, match=r"others can read or change it: chmod 600 .*kitchen\.key"):
            Tls(certificate=str(path))

    def test_a_mesh_key_too(self, tmp_path: Path) -> None:
        path = Path(mesh_key(tmp_path))
        path.chmod(0o644)
        with pytest.raises(ConfigError, match="others can read or change it"):
            Tls(mesh_key=str(path))

    def test_a_group_may_read_it(self, mesh: Mesh) -> None:
        path = mesh.certificate("kitchen")
        path.with_suffix(".key").chmod(0o640)
        assert Tls(certificate=str(path)).serves

    def test_what_is_missing_or_no_good_is_named(self, mesh: Mesh, tmp_path: Path) -> None:
        path = mesh.certificate("kitchen")
        other = mesh.certificate("cellar")
        short = write(tmp_path / "short.key", b"0123456789")
        text = write(tmp_path / "text.pem", b"hello", 0o600)
        for settings, words in (
            ({"certificate": str(tmp_path / "none.pem")}, r"none\.pem"),
            ({"certificate": str(path), "key": str(tmp_path / "none.key")}, r"none\.key.*No such file"),
            ({"certificate": str(path), "key": str(other.with_suffix(".key"))}, "is not that of"),
            ({"certificate": str(text)}, "text.pem"),
            ({"authority": str(text)}, "authority .*text.pem.* cannot be used"),
            ({"authority": str(tmp_path / "none.pem")}, "No such file"),
            ({"key": str(other)}, "a key without its certificate"),
            ({"mesh_key": str(short)}, "10 bytes, not 32 or more: splnode cert key"),
            ({"mesh_key": str(tmp_path / "none.key")}, "none.key.*No such file"),
            ({"mesh_key": str(short), "authority": str(path)}, "a mesh key stands alone"),
            ({"certificate": str(path), "node": "attic"}, "is of the node kitchen, and this one is attic"),
        ):
            with pytest.raises(ConfigError, match=words):
                Tls(**settings)  # type: ignore[arg-type]  # what the test gives is one of the words

    def test_an_encrypted_key_is_not_asked_for(self, mesh: Mesh) -> None:
        path = mesh.certificate("kitchen")
        key = path.with_suffix(".key")
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        encrypted = loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        write(key, encrypted)
        with pytest.raises(ConfigError, match="the key is encrypted"):
            Tls(certificate=str(path))

    def test_a_certificate_of_another_mesh_than_its_authority(self, mesh: Mesh, tmp_path: Path) -> None:
        away = Mesh(tmp_path, "away")
        with pytest.raises(ConfigError, match=r"names a node of the mesh home, and .* is of the mesh away"):
            Tls(certificate=str(mesh.certificate("kitchen")), authority=str(away.ca))

    def test_mutual_needs_an_authority(self, mesh: Mesh, tmp_path: Path) -> None:
        certificate = mesh.certificate("kitchen")
        both = certificate.read_bytes() + certificate.with_suffix(".key").read_bytes()
        alone = str(write(tmp_path / "alone" / "all.pem", both))
        assert Tls(certificate=alone).serves
        with pytest.raises(ConfigError, match='mutual = "on" needs the authority'):
            Tls(certificate=alone, mutual="on")


class TestFurtherCertificates:
    """One that a public authority has made, say, for who looks at host names."""

    @pytest.fixture
    def away(self, tmp_path: Path) -> Mesh:
        return Mesh(tmp_path, "away")

    @staticmethod
    def named(context: ssl.SSLContext, tls: Tls) -> str:
        """The file whose certificate a context shows."""
        return next(Path(shown.file).stem for shown, each in tls._made.servers if each is context)

    def test_the_name_asked_for_decides_and_the_first_is_for_all_others(self, mesh: Mesh, away: Mesh) -> None:
        shop = str(away.certificate("shop", ("shop.example.org", "localhost")))
        star = str(away.certificate("star", ("*.example.net", "shop.example.org")))
        tls = Tls(certificate=str(mesh.certificate("kitchen")), certificates=[shop, star])
        assert [Path(each.file).stem for each in tls.shown] == ["kitchen", "shop", "star"]
        for name, file in (
            ("", "kitchen"),
            ("localhost", "kitchen"),  # which has it too
            ("shop.example.org", "shop"),
            ("a.example.net", "star"),
            ("a.b.example.net", "kitchen"),
            ("no.where", "kitchen"),
        ):
            assert self.named(tls.server(name), tls) == file

    def test_members_are_known_whichever_they_are_shown(self, mesh: Mesh, away: Mesh) -> None:
        shop = str(away.certificate("shop", ("shop.example.org",)))
        tls = Tls(certificate=str(mesh.certificate("kitchen")), certificates=[shop], mutual="on")
        context = tls.server("shop.example.org")
        assert isinstance(context, Context)
        assert (context.mesh, context.verify_mode) == ("home", ssl.CERT_REQUIRED)
        assert [each["subject"] for each in context.get_ca_certs()] == [((("commonName", "splnode mesh home"),),)]

    def test_beside_a_mesh_key(self, away: Mesh, tmp_path: Path) -> None:
        shop = str(away.certificate("shop", ("shop.example.org",)))
        tls = Tls(mesh_key=mesh_key(tmp_path), certificates=[shop], node="kitchen")
        assert tls.server("shop.example.org") is not tls.server() is tls.server("kitchen")
        assert tls.expires == tls.shown[1].expires
        assert tls.server("shop.example.org").verify_mode == ssl.CERT_OPTIONAL

    def test_each_is_read_again_and_its_end_is_told(self, mesh: Mesh, away: Mesh) -> None:
        shop = str(away.certificate("shop", ("shop.example.org",), days=20))
        tls = Tls(certificate=str(mesh.certificate("kitchen")), certificates=[shop])
        before = tls.server("shop.example.org")
        assert tls.expires == tls.shown[1].expires
        assert [file for file, _ in expiry([tls], tls.expires)] == [shop]
        away.certificate("shop", ("other.example.org",))
        assert tls.refresh()
        assert tls.server("shop.example.org") is tls.server() is not before
        assert expiry([tls], 0) == []

    def test_what_is_no_good_is_named(self, mesh: Mesh, away: Mesh, tmp_path: Path) -> None:
        first, cellar = str(mesh.certificate("kitchen")), str(mesh.certificate("cellar"))
        shop = away.certificate("shop")
        shop.with_suffix(".key").chmod(0o644)
        for settings, words in (
            (
                {"certificate": first, "certificates": [cellar]},
                "cellar.pem is of the node cellar, and this one is kitchen",
            ),
            ({"certificate": first, "certificates": [str(shop)]}, r"shop\.key.* others can read"),
            ({"certificate": first, "certificates": [str(tmp_path / "no.pem")]}, r"no\.pem.* cannot be read"),
            ({"certificates": [cellar]}, "further certificates without a first: give tls.certificate, or tls.mesh_key"),
        ):
            with pytest.raises(ConfigError, match=words):
                Tls(**settings)


class TestHandshake:
    def test_both_know_each_other(self, mesh: Mesh) -> None:
        server, client = handshake(mesh.tls("kitchen"), mesh.tls("cellar"), "any.name")
        assert server.version() == client.version() == "TLSv1.3"
        assert mesh.tls("cellar").check(client, Endpoint("tls", "x", 1, node="kitchen")) == ""
        assert "it is kitchen, and should be attic" in mesh.tls("cellar").check(
            client, Endpoint("tls", "x", 1, node="attic")
        )

    def test_tls_1_2_is_the_least(self, mesh: Mesh) -> None:
        client = mesh.tls("cellar")
        client.client().maximum_version = ssl.TLSVersion.TLSv1_2
        assert handshake(mesh.tls("kitchen"), client)[0].version() == "TLSv1.2"
        for context in (client.client(), mesh.tls("kitchen").server()):
            assert context.minimum_version == ssl.TLSVersion.TLSv1_2
            assert context.options & ssl.OP_NO_RENEGOTIATION
            assert context.options & ssl.OP_NO_COMPRESSION

    def test_a_mesh_key_speaks_nothing_older_than_1_3(self, tmp_path: Path) -> None:
        key = mesh_key(tmp_path)
        client = Tls(mesh_key=key)
        server, _ = handshake(Tls(mesh_key=key, node="kitchen"), client)
        assert server.version() == "TLSv1.3"
        assert client.client().minimum_version == ssl.TLSVersion.TLSv1_3

    @pytest.mark.parametrize(("days", "begins", "code"), [(1, -3, 10), (5, 3, 9)])
    def test_a_certificate_out_of_its_time(self, mesh: Mesh, days: int, begins: int, code: int) -> None:
        mesh.certificate("kitchen", days=days, begins=begins)
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            handshake(mesh.tls("kitchen"), mesh.tls("cellar"))
        assert caught.value.verify_code == code

    def test_another_authority_with_the_same_name(self, mesh: Mesh, tmp_path: Path) -> None:
        forged = mint.new_authority("home")
        made, key = mint.issue(forged, "kitchen")
        other = Mesh(tmp_path / "forged")
        write(other.ca, mint.pem(forged.certificate))
        other.put("kitchen", made, key)
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(other.tls("kitchen"), mesh.tls("cellar"))

    def test_another_mesh_of_the_same_authority(self, mesh: Mesh, tmp_path: Path) -> None:
        """One that signs for two names: the name counts, not only who has signed."""
        client = mesh.tls("cellar")
        made, key = mint.issue(mesh.authority._replace(mesh="away"), "kitchen")
        write(tmp_path / "x" / "both.pem", mint.pem(made) + mint.key_pem(key))
        server = Tls(certificate=str(tmp_path / "x" / "both.pem"))
        _, seen = handshake(server, client)
        assert client.check(seen, Endpoint("tls", "x", 1)) == "its certificate is of the mesh away, and ours is home"

    def test_another_mesh_key(self, tmp_path: Path) -> None:
        ours, theirs = (Tls(mesh_key=mesh_key(tmp_path, name), node="a") for name in ("a.key", "b.key"))
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(theirs, ours)

    def test_who_must_show_a_certificate(self, mesh: Mesh) -> None:
        assert handshake(mesh.tls("kitchen"), mesh.believer())[0].getpeercert() is None
        with pytest.raises(ssl.SSLError, match=r"(?i)peer did not return a certificate"):
            handshake(mesh.tls("kitchen", mutual="on"), mesh.believer())
        assert handshake(mesh.tls("kitchen", mutual="on"), mesh.tls("cellar"))[0].getpeercert()
        assert not handshake(mesh.tls("kitchen", mutual="off"), mesh.tls("cellar"))[0].getpeercert()

    def test_a_client_of_another_authority_is_refused_where_it_is_asked(self, mesh: Mesh, tmp_path: Path) -> None:
        away = Mesh(tmp_path, "away")
        mixed = Tls(certificate=str(away.certificate("spy")), authority=None)
        mixed.client().load_verify_locations(str(mesh.ca))
        with pytest.raises(ssl.SSLError):
            handshake(mesh.tls("kitchen"), mixed)

    def test_of_another_authority_the_host_name_counts(self, mesh: Mesh) -> None:
        client = Tls()
        client.client().load_verify_locations(str(mesh.ca))
        _, seen = handshake(mesh.tls("kitchen"), client, "localhost")
        assert client.check(seen, Endpoint("tls", "localhost", 1)) == ""
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            handshake(mesh.tls("kitchen"), client, "kitchen.example.org")
        assert caught.value.verify_code == 62


class TestReading:
    def test_a_new_certificate_is_taken_when_it_is_there(self, mesh: Mesh) -> None:
        tls = mesh.tls("kitchen")
        before = tls.server()
        assert not tls.refresh()
        mesh.certificate("kitchen", days=10)
        assert tls.refresh()
        assert tls.server() is not before

    def test_handshakes_look_now_and_then(self, mesh: Mesh) -> None:
        tls = mesh.tls("kitchen")
        before = tls.server()
        mesh.certificate("kitchen", days=10)
        assert tls.server() is before
        tls._look_at = 0.0
        assert tls.server() is not before

    def test_one_that_is_no_good_leaves_the_old_one(self, mesh: Mesh) -> None:
        tls = mesh.tls("kitchen")
        before = tls.server()
        write(mesh.folder / "kitchen.pem", b"half of i")
        with pytest.raises(ConfigError):
            tls.refresh()
        tls._look_at = 0.0
        assert tls.server() is before
        mesh.certificate("kitchen")
        assert tls.refresh()

    def test_one_of_another_node_is_no_good(self, mesh: Mesh) -> None:
        tls = mesh.tls("kitchen")
        mesh.certificate("cellar").replace(mesh.folder / "kitchen.pem")
        (mesh.folder / "cellar.key").replace(mesh.folder / "kitchen.key")
        with pytest.raises(ConfigError, match="is of the node cellar, and this one is kitchen"):
            tls.refresh()

    def test_what_a_mesh_key_gives_is_made_anew_in_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tls = Tls(mesh_key=mesh_key(tmp_path), node="kitchen")
        assert not tls.refresh()
        later = tls._made.until
        monkeypatch.setattr("splnode.net.tls.time.monotonic", lambda: later)
        assert tls.refresh()

    def test_its_end_is_told_in_time(self, mesh: Mesh, tmp_path: Path) -> None:
        mesh.certificate("kitchen", days=20)
        tls = mesh.tls("kitchen")
        assert tls.expires is not None
        assert expiry([tls], tls.expires - 40 * 86_400) == []
        [(file, text)] = expiry([tls], tls.expires - 5 * 86_400)
        assert file.endswith("kitchen.pem") and "expires in 5 days, at 20" in text
        [(_, text)] = expiry([tls], tls.expires + 1)
        assert "has expired since 20" in text and "splnode cert node" in text
        assert expiry([Tls(mesh_key=mesh_key(tmp_path))], 2e10) == []


class TestEndpoints:
    far, near = Endpoint("tcp", "10.0.0.2", 1), Endpoint("tcp", "127.0.0.1", 1)

    def test_what_others_can_reach_is_encrypted(self, mesh: Mesh) -> None:
        tls = mesh.tls("kitchen")
        assert tls.listened(self.far) == tls.dialled(self.far) == Endpoint("tls", "10.0.0.2", 1)
        assert tls.listened(self.near) == tls.dialled(self.near) == self.near
        http = Endpoint("http+avro", "10.0.0.2", 1, "/", framing="http")
        assert tls.listened(http).scheme == "https+avro"
        assert tls.dialled(Endpoint("unix", path="/x")) == Endpoint("unix", path="/x")

    def test_where_plain_is_allowed_it_is_spoken(self, mesh: Mesh) -> None:
        tls = mesh.tls("kitchen", plain="both")
        assert tls.dialled(self.far) == self.far
        assert tls.listened(self.far).is_secure

    def test_without_a_certificate_nothing_is_served(self, mesh: Mesh) -> None:
        tls = mesh.believer()
        assert not tls.serves
        assert tls.listened(self.far) == self.far
        assert tls.dialled(self.far).is_secure
