import pytest

from splnode.identity import LONGEST, NOBODY, NODE, UNREADABLE, Identity, identity_for

MEMBER = Identity("spiffe://home/node/b", ("mesh",), "certificate")
OWN = Identity("uid:1000", ("own",), "unix")


def named(text: bytes) -> dict[str, bytes]:
    return {"spl-identity": text}


def test_an_identity_is_its_name_groups_and_proof() -> None:
    one, other = Identity("uid:1", ("unix",), "unix"), Identity("uid:1", ("unix",), "unix")
    assert one == other
    assert hash(one) == hash(other)
    assert one != Identity("uid:1", ("own",), "unix")
    assert one != "uid:1"
    assert str(one) == "uid:1"
    assert repr(one) == "Identity('uid:1', ['anyone', 'unix'], 'unix')"
    assert one.text == b"uid:1 anyone unix"


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a\0", "\x1b[2J"])
def test_a_name_has_no_blanks(name: str) -> None:
    with pytest.raises(ValueError, match="without blanks"):
        Identity(name)
    with pytest.raises(ValueError, match="without blanks"):
        Identity("a", (name,))


def test_who_names_nobody_is_meant_itself() -> None:
    assert identity_for(MEMBER, {"k": b"v"}) is MEMBER
    assert identity_for(OWN, named(OWN.text)) is OWN


def test_a_process_of_this_node_is_believed_with_the_groups() -> None:
    ann = identity_for(OWN, named(b"token:ann anyone ops"))
    assert (ann.name, ann.how) == ("token:ann", "vouched")
    assert ann.groups == {"ops", "anyone"}
    assert identity_for(OWN, named(NODE.text)) is NODE


@pytest.mark.parametrize("text", [b"uid:0 own anyone", b"node anyone own", b"token:ann ops", b"x insecure"])
def test_whom_a_member_names_is_of_the_mesh_whatever_it_says(text: bytes) -> None:
    who = identity_for(MEMBER, named(text))
    assert who.name == text.decode().split()[0]
    assert who.groups == {"mesh", "anyone"}


@pytest.mark.parametrize("text", [b"anyone anyone", b"uid:7", b"mesh", b"own anyone"])
def test_who_was_nobody_there_is_nobody_here(text: bytes) -> None:
    who = identity_for(MEMBER, named(text))
    assert who.name == text.decode().split()[0]
    assert who.groups == {"anyone"}


@pytest.mark.parametrize("group", ["unix", "loopback", "insecure", "anyone", "ops"])
def test_nobody_else_is_believed(group: str) -> None:
    peer = Identity("peer", (group,))
    assert identity_for(peer, named(b"node anyone own")) is peer


@pytest.mark.parametrize("text", [b"", b" ", b"a  b", b"\xff", b"a\nb", b"a b\0", b"a" * (LONGEST + 1)])
def test_what_cannot_be_read_names_somebody_who_may_nothing(text: bytes) -> None:
    for peer in (OWN, MEMBER):
        assert identity_for(peer, named(text)) is UNREADABLE
    assert UNREADABLE.groups == NOBODY.groups == {"anyone"}
