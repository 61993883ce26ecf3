"""Who stands between two ends, who comes with a wrong certificate, and who does not speak as they should.

There is no key that TLS exports in the handshake of Avro: `ssl` gives none out. What proves that both ends have the
mesh key, or the certificates, is TLS's own CertificateVerify, a signature over all that both have said. These tests
hold what that is to give: nobody else in between, nothing again, nothing changed, on both loops and without one.
"""

import asyncio
import datetime
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

import splnode
from splnode.endpoint import Endpoint
from splnode.errors import CallError, ConfigError
from splnode.limits import Limits
from splnode.net import tls_mint as mint
from splnode.net.tls import Context, Tls
from splnode.rpc.call import current_call
from tests.net.certificates import Mesh, mesh_key, write
from tests.net.test_tls_gate import ECHO, Echo, blocking_echo, echo, run, said, serving
from tests.require import require

SECRET = b"what only the two ends may read"
Ends = tuple[Tls, Tls]


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)


@pytest.fixture(params=["certificates", "certificates 1.2", "mesh key"])
def ends(request: pytest.FixtureRequest, mesh: Mesh, tmp_path: Path) -> Ends:
    """A server and a client of one mesh."""
    if request.param == "mesh key":
        key = mesh_key(tmp_path)
        return Tls(mesh_key=key, node="kitchen", mutual="on"), Tls(mesh_key=key, node="cellar")
    client = mesh.tls("cellar")
    if request.param.endswith("1.2"):
        client.client().maximum_version = ssl.TLSVersion.TLSv1_2
    return mesh.tls("kitchen", mutual="on"), client


Change = Callable[[bytes, int], bytes]


class Between:
    """Passes on what goes to and fro, and keeps it; `change` is given what a client sends, and how much came before."""

    def __init__(self, there: Endpoint) -> None:
        self.change: Change = lambda data, _place: data
        self.up = self.down = b""
        self._there = there

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            answers, onward = await asyncio.open_connection(self._there.host, self._there.port)
            try:
                await asyncio.gather(self._pass_on(reader, onward, up=True), self._pass_on(answers, writer, up=False))
            finally:
                onward.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        try:
            while data := await reader.read(65_536):
                if up:
                    data, self.up = self.change(data, len(self.up)), self.up + data
                else:
                    self.down += data
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def standing(where: Callable[..., Awaitable[None]]) -> AsyncIterator[Endpoint]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await where(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield Endpoint("tls", "127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


class TestInBetween:
    async def test_who_passes_all_on_learns_nothing(self, ends: Ends) -> None:
        server, client = ends
        async with serving(server) as endpoint:
            spy = Between(endpoint)
            async with standing(spy) as here, splnode.connect(here, ECHO, tls=client) as connected:
                sent = await connected.call("echo", {"x": SECRET}, metadata={"authorization": b"Bearer " + SECRET})
                assert sent == SECRET
        for heard in (spy.up, spy.down):
            assert len(heard) > 500
            assert SECRET not in heard and b"authorization" not in heard and b"Echo" not in heard

    async def test_who_ends_tls_with_another_certificate_hears_nothing(
        self, ends: Ends, mesh: Mesh, tmp_path: Path
    ) -> None:
        """An authority that calls itself the same, another mesh key, and the certificate of the world at large."""
        forged = Mesh(tmp_path / "forged")
        authority = mint.new_authority("home")
        write(forged.ca, mint.pem(authority.certificate), 0o644)
        forged.put("kitchen", *mint.issue(authority, "kitchen", ("localhost", "127.0.0.1")))
        heard: list[bytes] = []

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                heard.append(await reader.read(100))
            writer.close()

        for tls in (forged.tls("kitchen"), Tls(mesh_key=mesh_key(tmp_path, "other.key"), node="kitchen")):
            trap = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=tls.server())
            port = trap.sockets[0].getsockname()[1]
            for text in await said(Endpoint("tls", "127.0.0.1", port), ends[1]):
                assert "of an authority that is not ours" in text or "closed in the TLS handshake" in text
            trap.close()
        assert b"".join(heard) == b""

    async def test_a_node_that_is_shown_itself_knows_that_it_is_not_the_other(self, ends: Ends) -> None:
        """Reflection: who is between sends all back to where it came from. Members are dialled by their names."""
        server, _ = ends
        async with serving(server) as endpoint, standing(Between(endpoint)) as here:
            for text in await said(here.replace(node="cellar"), server):
                assert "it is kitchen, and should be cellar" in text

    async def test_what_was_said_once_is_good_for_nothing(self, ends: Ends) -> None:
        server, client = ends
        calls: list[bytes] = []

        class Counting:
            async def echo(self, x: bytes) -> bytes:
                calls.append(x)
                return x

        async with splnode.listen(["tls://127.0.0.1:0"], {ECHO: Counting()}, tls=server) as listening:
            endpoint = listening.endpoints[0]
            spy = Between(endpoint)
            async with standing(spy) as here:
                assert await echo(here, client, SECRET) == SECRET
            for again in (spy.up, spy.down):
                reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
                writer.write(again)
                writer.write_eof()
                with suppress(ConnectionResetError):
                    assert SECRET not in await asyncio.wait_for(reader.read(), 10)
                writer.close()
            assert await echo(endpoint, client) == b"hello"
        assert calls == [SECRET, b"hello"]

    async def test_what_was_changed_on_the_way_does_not_arrive(self, ends: Ends) -> None:
        """One bit of anything that the client sends, the offer of versions and names included."""
        server, client = ends
        async with serving(server) as endpoint:
            spy = Between(endpoint)
            async with standing(spy) as here:
                assert await echo(here, client, SECRET) == SECRET
            size = len(spy.up) - 40  # the last is the goodbye
        async with serving(server, limits=Limits(handshake_seconds=0.1)) as endpoint:
            spy = Between(endpoint)
            async with standing(spy) as here:
                for place in {*range(12), *range(12, size, max(1, size // 20))}:
                    spy.change, spy.up = flip(place), b""
                    try:
                        async with asyncio.timeout(0.2):  # where a length is longer both wait
                            answer = await echo(here, client, SECRET)
                    except (CallError, TimeoutError):
                        continue
                    assert answer == SECRET and place in HARMLESS, f"byte {place} was changed, and nobody has seen it"

    async def test_an_end_that_is_cut_off_is_no_answer(self, ends: Ends) -> None:
        server, client = ends
        async with serving(server) as endpoint:
            spy = Between(endpoint)
            async with standing(spy) as here:
                assert await echo(here, client, SECRET * 1000) == SECRET * 1000
                for kept in (300, len(spy.up) - 1000):
                    spy.change, spy.up = keep(kept), b""
                    with pytest.raises((CallError, TimeoutError)):
                        async with asyncio.timeout(0.2):
                            await echo(here, client, SECRET * 1000)

    async def test_nothing_of_a_key_is_said_on_a_plain_link(self, ends: Ends) -> None:
        """A peer that answers TLS with anything else has heard a ClientHello, and no more."""
        heard: list[bytes] = []

        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read(65_536))
            writer.write(b"\0\0\0\1\0\0\0\1\0\0\0\0")
            heard.append(await reader.read(65_536))
            writer.close()

        async with standing(plain) as here:
            assert len(await said(here, ends[1])) == 2
        assert {data[:1] for data in heard} <= {b"\x16", b"\x15", b""}  # a handshake, an alert, an end
        hello = b"".join(heard)
        assert ends[1].mesh.encode() not in hello and b"cellar" not in hello


HARMLESS = {1, 2}
"""The version of the first record: no end looks at it. (RFC 8446, 5.1: legacy_record_version)"""


def flip(place: int) -> Change:
    def change(data: bytes, before: int) -> bytes:
        here = place - before
        if not 0 <= here < len(data):
            return data
        return data[:here] + bytes([data[here] ^ 1]) + data[here + 1 :]

    return change


def keep(most: int) -> Change:
    return lambda data, before: data[: max(0, most - before)]


# --- certificates ------------------------------------------------------------------------------------------


class Who:
    async def echo(self, x: bytes) -> bytes:
        return str(current_call().identity).encode()


def certificate(
    signer: mint.Authority,
    key: mint.Key,
    uris: tuple[str, ...] = ("spiffe://home/node/spy",),
    *,
    usages: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    hosts: tuple[str, ...] = (),
    is_authority: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    name = mint._subject("spy")
    issuer = signer.certificate.subject
    builder = mint._builder(name, issuer, key, x509.random_serial_number(), now - mint.DAY, now + mint.DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(each) for each in uris]
    names += [x509.DNSName(each) for each in hosts]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(signer.key, hashes.SHA256())


class TestWrongCertificates:
    @pytest.fixture
    def spy(self, mesh: Mesh, tmp_path: Path) -> Callable[..., Tls]:
        """A client, or a server, that believes the mesh and shows that certificate, with those behind it."""

        def made(shown: x509.Certificate, key: mint.Key, *behind: x509.Certificate) -> Tls:
            chain = b"".join(mint.pem(each) for each in (shown, *behind))
            path = write(tmp_path / "spy" / f"{shown.serial_number}.pem", chain + mint.key_pem(key))
            tls = Tls(certificate=str(path))
            tls.client().load_verify_locations(str(mesh.ca))
            client = tls.client()
            assert isinstance(client, Context)
            client.check_hostname, client.mesh = False, ""  # it speaks with anybody
            return tls

        return made

    async def refused(self, mesh: Mesh, spy: Tls, *, as_client: bool = True, as_server: bool = True) -> None:
        if as_client:
            async with serving(mesh.tls("kitchen")) as endpoint:
                assert len(await said(endpoint, spy)) == 2
        if as_server:
            async with serving(spy) as endpoint:
                for text in await said(endpoint, mesh.tls("cellar")):
                    assert "its certificate" in text, text

    @pytest.mark.parametrize(
        ("days", "begins"), [pytest.param(1, -3, id="expired"), pytest.param(5, 3, id="not yet valid")]
    )
    async def test_out_of_their_time(self, mesh: Mesh, days: int, begins: int) -> None:
        mesh.certificate("old", days=days, begins=begins)
        await self.refused(mesh, mesh.tls("old"))

    async def test_of_another_mesh(self, mesh: Mesh, tmp_path: Path, spy: Callable[..., Tls]) -> None:
        made, key = mint.issue(Mesh(tmp_path, "away").authority, "kitchen")
        await self.refused(mesh, spy(made, key))

    async def test_for_another_use(self, mesh: Mesh, spy: Callable[..., Tls]) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        server, client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
        await self.refused(mesh, spy(certificate(mesh.authority, key, usages=(server,)), key), as_server=False)
        await self.refused(mesh, spy(certificate(mesh.authority, key, usages=(client,)), key), as_client=False)
        other = ExtendedKeyUsageOID.CODE_SIGNING
        await self.refused(mesh, spy(certificate(mesh.authority, key, usages=(other,)), key))

    @pytest.mark.parametrize("claims", [False, True])
    async def test_signed_by_who_may_not(self, mesh: Mesh, spy: Callable[..., Tls], claims: bool) -> None:
        """By a node's certificate; and by an authority that the mesh's has made, which may make none."""
        own, inner_key = mint.issue(mesh.authority, "cellar")
        if claims:
            own = certificate(mesh.authority, inner_key, ("spiffe://home",), usages=(), is_authority=True)
        key = ec.generate_private_key(ec.SECP256R1())
        forged = certificate(mint.Authority("home", own, inner_key), key, ("spiffe://home/node/kitchen",))
        await self.refused(mesh, spy(forged, key, own))

    @pytest.mark.parametrize(
        "uris",
        [
            (),
            ("spiffe://home",),
            ("spiffe://home/node/",),
            ("spiffe://home/node/a/b",),
            ("spiffe://home/node/../node/cellar",),
            ("spiffe://home/node/%63ellar",),
            ("spiffe://home/node/cellar?x",),
            ("spiffe://home/node/cellar#x",),
            ("spiffe://home:443/node/cellar",),
            ("spiffe://x@home/node/cellar",),
            ("spiffe://HOME/node/cellar",),
            ("SPIFFE://home/node/cellar",),
            ("spiffe://home/node/cellar\n",),
            ("spiffe://home/node/cellar\0",),
            ("spiffe://home/node/" + "a" * 64,),
            ("spiffe://home./node/cellar",),
            ("spiffe://away/node/cellar",),
            ("https://home/node/cellar",),
            ("spiffe://home/node/cellar", "spiffe://home/node/attic"),
        ],
    )
    async def test_odd_names_make_nobody_a_member(
        self, mesh: Mesh, spy: Callable[..., Tls], uris: tuple[str, ...]
    ) -> None:
        """Though the mesh's own authority has signed them: as a client anyone, as a server nobody to speak with."""
        key = ec.generate_private_key(ec.SECP256R1())
        odd = spy(certificate(mesh.authority, key, uris, hosts=("*", "*.example.org", "localhost")), key)
        async with splnode.listen(["tls://127.0.0.1:0"], {ECHO: Who()}, tls=mesh.tls("kitchen")) as server:
            assert await echo(server.endpoints[0], odd) == b"loopback"
        async with serving(odd) as endpoint:
            for text in await said(endpoint, mesh.tls("cellar")):
                assert "names no node of the mesh home" in text or "is of the mesh" in text

    def test_an_authority_besides_the_mesh_s_own_is_refused(self, mesh: Mesh, tmp_path: Path) -> None:
        """It could make nodes of the mesh, without knowing of it."""
        certified = mesh.certificate("kitchen").read_bytes(), (mesh.folder / "kitchen.key").read_bytes()
        path = write(tmp_path / "mixed" / "kitchen.pem", b"".join(certified))
        key = ec.generate_private_key(ec.SECP256R1())
        for uris in ((), ("spiffe://away",), ("spiffe://home/node/x",)):
            other = certificate(mesh.authority, key, uris, usages=(), is_authority=True)
            write(path.with_name("authority.pem"), mesh.ca.read_bytes() + mint.pem(other), 0o644)
            with pytest.raises(ConfigError, match=r"of several meshes .*home"):
                Tls(certificate=str(path))
        successor = mint.new_authority("home")
        write(path.with_name("authority.pem"), mesh.ca.read_bytes() + mint.pem(successor.certificate), 0o644)
        assert Tls(certificate=str(path)).mesh == "home"

    async def test_a_chain_of_many_certificates_is_not_read_to_its_end(
        self, mesh: Mesh, spy: Callable[..., Tls]
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        shown = certificate(mesh.authority, key)
        long = spy(shown, key, *[shown] * 400)
        async with serving(mesh.tls("kitchen")) as endpoint:
            assert await echo(endpoint, mesh.tls("cellar")) == b"hello"
            assert len(await said(endpoint, long)) == 2


# --- what is said ------------------------------------------------------------------------------------------


class TestOddTalk:
    async def test_no_session_is_taken_up_again(self, mesh: Mesh, tmp_path: Path) -> None:
        """So nobody comes in with a certificate that was good, and nothing is sent early."""
        require(shutil.which("openssl") is not None, "openssl", "apt-get install openssl")
        kept = tmp_path / "session"
        async with serving(mesh.tls("kitchen")) as endpoint:
            where = ("openssl", "s_client", "-connect", f"127.0.0.1:{endpoint.port}", "-tls1_3")
            first = await run(*where, "-sess_out", str(kept), "-ign_eof", stdin=b"GET / HTTP/1.1\r\n\r\n")
            assert b"Verification error" in first or b"Verify return code" in first
            assert b"New Session Ticket arrived" not in first
        assert not kept.exists()

    async def test_a_session_of_before_is_not_taken_up_with_a_new_certificate(self, mesh: Mesh, tmp_path: Path) -> None:
        """TLS 1.2 has them still: each certificate has its own keys for that."""
        require(shutil.which("openssl") is not None, "openssl", "apt-get install openssl")
        kept, tls = str(tmp_path / "session"), mesh.tls("kitchen")
        async with serving(tls) as endpoint:
            where = ("openssl", "s_client", "-connect", f"127.0.0.1:{endpoint.port}", "-tls1_2")
            assert b"New, TLSv1.2" in await run(*where, "-sess_out", kept)
            assert b"Reused, TLSv1.2" in await run(*where, "-sess_in", kept)
            mesh.certificate("kitchen", days=10)
            assert tls.refresh()
            assert b"New, TLSv1.2" in await run(*where, "-sess_in", kept)

    async def test_nothing_is_negotiated_twice(self, mesh: Mesh) -> None:
        require(shutil.which("openssl") is not None, "openssl", "apt-get install openssl")
        async with serving(mesh.tls("kitchen")) as endpoint:
            talk = await run("openssl", "s_client", "-connect", f"127.0.0.1:{endpoint.port}", "-tls1_2", stdin=b"R\n")
            assert re.search(rb"RENEGOTIATING\s.*no renegotiation", talk, re.DOTALL), talk[-500:]
            assert await echo(endpoint, mesh.tls("cellar")) == b"hello"

    async def test_protocols_that_nobody_knows_are_no_matter(self, mesh: Mesh) -> None:
        client = mesh.tls("cellar")
        client.client().set_alpn_protocols(["x" * 255] * 50 + ["h2", "\x01"])
        async with serving(mesh.tls("kitchen")) as endpoint:
            assert await echo(endpoint, client) == b"hello"
            assert await asyncio.to_thread(blocking_echo, endpoint, client) == b"hello"

    async def test_new_keys_without_end(self, mesh: Mesh) -> None:
        """Each asks for one of ours too. They are bytes, and come one behind another."""
        require(shutil.which("openssl") is not None, "openssl", "apt-get install openssl")
        async with serving(mesh.tls("kitchen")) as endpoint:
            talk = await run(
                "openssl", "s_client", "-connect", f"127.0.0.1:{endpoint.port}", "-tls1_3", stdin=b"K\n" * 200
            )
            assert talk.count(b"KEYUPDATE") >= 1
            assert await echo(endpoint, mesh.tls("cellar")) == b"hello"

    @pytest.mark.parametrize("version", ["1.2", "1.3"])
    async def test_an_end_at_any_moment(self, mesh: Mesh, version: str) -> None:
        """Closed, or reset, after each part of what an honest client says; and the next one is served."""
        server, client = mesh.tls("kitchen", mutual="on"), mesh.tls("cellar")
        if version == "1.2":
            client.client().maximum_version = ssl.TLSVersion.TLSv1_2
        async with splnode.listen(["tls://127.0.0.1:0"], {ECHO: Echo()}, tls=server) as listening:
            endpoint = listening.endpoints[0]
            for reset in (False, True):
                for most in range(0, 2600, 130):
                    await asyncio.to_thread(shake_in_part, endpoint, client, most, reset=reset)
            assert await echo(endpoint, client) == b"hello"


def shake_in_part(endpoint: Endpoint, tls: Tls, most: int, *, reset: bool) -> None:
    """An honest handshake, of which only so many bytes are sent."""
    come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
    link = tls.client().wrap_bio(come, go, server_hostname="localhost")
    with socket.create_connection((endpoint.host, endpoint.port), timeout=10) as sock, suppress(OSError):
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        while most > 0:
            with suppress(ssl.SSLWantReadError):
                link.do_handshake()
                link.write(SECRET)
            data = go.read(most)
            sock.sendall(data)
            most -= len(data)
            if most > 0:
                if not (answer := sock.recv(65_536)):
                    return
                come.write(answer)
