"""splnode.net.tls_names: who a certificate says somebody is."""

import pytest

from splnode.net.tls_names import certificate_name, names_in, node_name, split_name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("spiffe://home/node/kitchen", ("home", "kitchen")),
        ("spiffe://home.example.org/node/a-1.B_2", ("home.example.org", "a-1.B_2")),
        ("spiffe://home", ("home", "")),
        ("spiffe://Home/node/kitchen", ("", "")),
        ("spiffe://home/node/", ("", "")),
        ("spiffe://home/node/a/b", ("", "")),
        ("spiffe://home/user/a", ("", "")),
        ("spiffe://home/node/kitchen\n", ("", "")),
        ("spiffe:///node/kitchen", ("", "")),
        ("https://home/node/kitchen", ("", "")),
        ("", ("", "")),
    ],
)
def test_a_name_is_taken_apart(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts
    if parts[0]:
        assert node_name(*parts) == name


def test_a_certificate_has_one_name() -> None:
    uri = ("URI", "spiffe://home/node/kitchen")
    assert names_in({"subjectAltName": (("DNS", "kitchen"), uri)}) == ("home", "kitchen")
    assert names_in({"subjectAltName": (uri, ("URI", "spiffe://home/node/cellar"))}) == ("", "")
    assert names_in({"subjectAltName": (("DNS", "spiffe://home/node/kitchen"),)}) == ("", "")
    assert names_in({}) == ("", "")


class Peer:
    """What is asked of an ssl.SSLObject."""

    def __init__(self, uri: str, mesh: str | None) -> None:
        self._certificate = {"subjectAltName": (("URI", uri),)} if uri else None
        self.context = type("Context", (), {} if mesh is None else {"mesh": mesh})()

    def getpeercert(self) -> dict[str, tuple[tuple[str, str]]] | None:
        return self._certificate


@pytest.mark.parametrize(
    ("uri", "mesh", "name"),
    [
        ("spiffe://home/node/kitchen", "home", "spiffe://home/node/kitchen"),
        ("spiffe://away/node/kitchen", "home", None),
        ("spiffe://home", "home", None),
        ("spiffe://home/node/kitchen", "", None),
        ("spiffe://home/node/kitchen", None, None),
        ("", "home", None),
        ("", "", None),
    ],
)
def test_only_the_own_mesh_is_believed(uri: str, mesh: str | None, name: str | None) -> None:
    assert certificate_name(Peer(uri, mesh)) == name
