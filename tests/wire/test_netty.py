"""What is Netty framing's own; what both framings must do is in test_framing.py."""

from splnode.limits import Limits
from splnode.wire.netty import NettyReader, netty_frame
from tests.wire.conftest import netty, read

LIMITS = Limits(message_bytes=1000, message_buffers=8)


def test_serials_are_opaque():
    data = b"".join(netty(serial, b"x") for serial in (0, 0, 0xFFFFFFFF, 0x80000000, 3))
    assert [serial for serial, _ in read(NettyReader(LIMITS), [data])] == [0, 0, 0xFFFFFFFF, 0x80000000, 3]


def test_writing():
    assert netty_frame(7, b"ab") == bytes.fromhex("00000007 00000001 00000002 6162")
    assert netty_frame(7, b"") == bytes.fromhex("00000007 00000001 00000000")
