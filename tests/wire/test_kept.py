from splnode.wire.kept import EMPTY, PING, SILENT, Kept
from splnode.wire.message import Contract
from tests.wire.conftest import CALCULATOR, string


def test_what_a_call_is_made_of_when_it_is_sent_again() -> None:
    writer = Contract(CALCULATOR).request_writer("add")
    kept = Kept(writer, b"metadata", b"\x04\x50")
    assert kept.parts() == [b"metadata", string("add"), b"\x04", b"\x50"]
    assert (kept.one_way, kept.attempt) == (False, 1)
    assert Kept(Contract(CALCULATOR).request_writer("log"), EMPTY, b"").one_way


def test_a_ping_has_neither_name_nor_parameters() -> None:
    ping = Kept(None, EMPTY, b"")
    assert ping.parts() == [EMPTY, EMPTY]
    assert not ping.one_way
    assert PING is not SILENT
