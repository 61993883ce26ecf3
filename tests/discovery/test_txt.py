import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splnode.discovery.resolver import Service
from splnode.discovery.txt import LARGEST, BadTxtError, Txt, decode, encode

PRINTS = (b"w" * 16, b"r" * 16, b"h" * 16)


def record(**values: str | bytes) -> bytes:
    strings = [b"%s=%s" % (key.encode(), v if isinstance(v, bytes) else v.encode()) for key, v in values.items()]
    return b"".join(bytes((len(each),)) + each for each in strings)


def test_the_bytes() -> None:
    txt = Txt("kitchen", 17, Service("a.B", "1.2", b"\x00" * 16), "drain", 2.5)
    assert encode(txt) == (
        b"\x09txtvers=1\x0aid=kitchen\x05ep=17\x09p=a.B:1.2\x07s=drain\x18w=AAAAAAAAAAAAAAAAAAAAAA\x06wt=2.5"
    )


@pytest.mark.parametrize("state", ["up", "drain"])
@pytest.mark.parametrize("weight", [0.0, 1.0, 0.25, 1000.0])
def test_what_goes_in_comes_out(state: str, weight: float) -> None:
    txt = Txt("a-node", 1_700_000_000_000, Service("com.acme.Inventory", "2", *PRINTS), state, weight)  # type: ignore[arg-type]  # the two words
    assert decode(encode(txt)) == txt


def test_a_port_that_speaks_tls() -> None:
    txt = Txt("kitchen", 17, Service("a.B"), tls=True)
    assert encode(txt).endswith(b"\x05tls=1")
    assert decode(encode(txt)) == txt
    assert not decode(record(id="n", p="a.B", tls="0")).tls


def test_what_does_not_fit_is_left_out_least_important_first() -> None:
    node, name, version = "n" * 63, "p" * 200, "v" * 40
    whole = Txt(node, 2**62, Service(name, "", *PRINTS), "drain", 0.123456)
    assert decode(encode(whole)) == whole
    larger = encode(Txt(node, 2**62, Service(name, version, *PRINTS), "drain", 0.123456))
    assert len(larger) <= LARGEST
    assert decode(larger) == Txt(node, 2**62, Service(name, version, PRINTS[0]), "drain")


@pytest.mark.parametrize(("node", "name"), [("n", "p" * 201), ("n" * 64, "p"), ("ü", "p"), ("n", "a b"), ("", "p")])
def test_names_that_nobody_could_read_are_not_said(node: str, name: str) -> None:
    with pytest.raises(BadTxtError):
        encode(Txt(node, 1, Service(name)))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "id is missing|p is missing"),
        (record(id="n"), "p is missing"),
        (record(p="a.B"), "id is missing"),
        (record(id="n", p="a.B", txtvers="2"), "txtvers"),
        (record(id="n m", p="a.B"), "no node's id"),
        (record(id="n" * 64, p="a.B"), "no node's id"),
        (record(id=b"\xff\x00", p="a.B"), "not ASCII"),
        (record(id="n", p="a.B", ep="-1"), "ep is"),
        (record(id="n", p="a.B", ep="9" * 30), "ep is"),
        (record(id="n", p="a.B", s="dead"), "not up or drain"),
        (record(id="n", p="a.B", wt="nan"), "wt is"),
        (record(id="n", p="a.B", tls="yes"), "tls is 'yes', and not 0 or 1"),
        (record(id="n", p="a.B", wt="-1"), "wt is"),
        (record(id="n", p="a.B", wt="1e9"), "wt is"),
        (record(id="n", p="a.B", w="short"), "no fingerprint"),
        (record(id="n", p="a.B", r="!" * 22), "no fingerprint"),
        (record(id="n", p="a b"), "no protocol's name"),
        (record(id="n", p="a.B:\x07"), "no protocol's name"),
        (record(id="n", p="a.B") + b"\xff", "ends behind it"),
        (record(id="n", p="a.B", x="y" * 200) * 7, "1300"),
    ],
)
def test_what_is_not_believed(raw: bytes, words: str) -> None:
    with pytest.raises(BadTxtError, match=words) as caught:
        decode(raw)
    assert len(str(caught.value)) < 300


def test_the_first_of_two_keys_counts_whatever_its_case() -> None:
    raw = record(ID="first", id="second", P="a.B", junk=b"\xff\xfe") + b"\x00" + b"\x04flag" + b"\x02=x"
    assert decode(raw) == Txt("first", 0, Service("a.B"))


@given(st.binary(max_size=1400))
def test_bytes_of_any_kind_are_refused_or_read(raw: bytes) -> None:
    with contextlib.suppress(BadTxtError):
        decode(raw)
