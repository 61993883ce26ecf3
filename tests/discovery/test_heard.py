import pytest

from splnode.discovery import heard
from splnode.discovery.heard import Heard, Record, usable
from splnode.discovery.resolver import Service
from splnode.discovery.txt import Txt


def record(
    service: str = "a.B", node: str = "n", epoch: int = 1, server: str = "h.local.", state: str = "up", port: int = 9
) -> Record:
    return Record(server, port, ("10.0.0.1",), Txt(node, epoch, Service(service), state))  # type: ignore[arg-type]  # the two words


def test_the_services_of_a_node_are_one_instance() -> None:
    known = Heard("mdns")
    known.add("one", record("a.B"))
    known.add("two", record("a.A"))
    (instance,) = known.instances()
    assert instance.services == (Service("a.A"), Service("a.B"))
    assert str(instance.endpoints[0]) == "tcp://10.0.0.1:9"
    assert (instance.node, instance.epoch, instance.sources) == ("n", 1, ("mdns",))
    known.add("two", record("a.A", state="drain"))
    (instance,) = known.instances()
    assert instance.state == "drain"
    known.drop("two")
    known.drop("never there")
    (instance,) = known.instances()
    assert (instance.services, instance.state) == ((Service("a.B"),), "up")
    known.drop("one")
    assert list(known.instances()) == []


def test_over_tls_the_node_that_was_announced_must_be_there() -> None:
    known = Heard("mdns")
    known.add("one", record()._replace(txt=Txt("kitchen", 1, Service("a.B"), tls=True)))
    (instance,) = known.instances()
    assert [str(each) for each in instance.endpoints] == ["tls://10.0.0.1:9?node=kitchen"]


def test_a_forged_record_stands_beside_the_true_one() -> None:
    known = Heard("mdns")
    known.add("one", record())
    known.add("two", record(server="evil.local."))
    known.add("three", record(port=666))
    known.add("four", record(epoch=2**60))
    assert len(list(known.instances())) == 4


def test_a_record_that_changes_its_node_leaves_the_old_one() -> None:
    known = Heard("mdns")
    known.add("one", record(epoch=1))
    known.add("one", record(epoch=2))
    assert [each.epoch for each in known.instances()] == [2]


def test_what_has_not_changed_is_the_same_object() -> None:
    known = Heard("mdns")
    known.add("one", record())
    (before,) = known.instances()
    known.add("one", record())
    known.add("two", record(node="m"))
    assert any(each is before for each in known.instances())


def test_our_own_announcements_are_left_out() -> None:
    known = Heard("mdns")
    known.own = ("n", 1)
    known.add("one", record())
    known.add("old", record(epoch=0))
    assert [each.epoch for each in known.instances()] == [0]


def test_what_was_not_heard_again_is_forgotten() -> None:
    known = Heard("mdns")
    known.add("one", record())
    known.add("two", record(node="m"))
    known.age()
    assert len(list(known.instances())) == 2
    known.add("two", record(node="m"))
    assert known.forget_stale() == 1
    assert [each.node for each in known.instances()] == ["m"]
    assert known.forget_stale() == 0


def test_a_flood_has_an_end_and_pushes_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heard, "MOST", 20)
    monkeypatch.setattr(heard, "REJECTED", 5)
    monkeypatch.setattr(heard, "MOST_SERVICES", 3)
    known = Heard("mdns")
    known.add("good", record())
    for number in range(50):
        known.add(f"bad{number}", record(f"s{number}", node="one"))
    assert len(known) == 4
    for number in range(50):
        known.add(f"worse{number}", record(node=f"m{number}"))
    assert len(known) == 20
    assert "n" in {each.node for each in known.instances()}
    assert len(known.rejected) == 5


def test_a_record_that_turns_bad_is_gone_and_the_reason_kept() -> None:
    known = Heard("mdns")
    known.add("one", record())
    known.reject("one", "because")
    assert list(known.instances()) == []
    assert known.rejected == {"one": "because"}
    known.add("one", record())
    assert known.rejected == {}


def test_addresses_that_can_be_dialled() -> None:
    given = ("10.0.0.1", "fe80::1", "fe80::1%2", "fd00::1", "224.0.0.1", "0.0.0.0", "::")
    assert usable(given) == ("10.0.0.1", "fe80::1%2", "fd00::1")
