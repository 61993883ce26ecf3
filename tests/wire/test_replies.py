"""Replies in bytes, and on their way out."""

from splnode.errors import CallError, Code
from splnode.limits import Limits
from splnode.wire.replies import Replies
from tests.wire.conftest import netty, spec, string


def test_netty_replies_leave_as_they_come():
    replies = Replies()
    replies.netty = True
    replies.send(7, b"", b"\0", b"\0", b"")
    replies.skip(6)
    replies.send(5, b"BOTH", b"\0", b"\x01", b"no")
    assert replies.take() == [netty(7, b"\0\0"), netty(5, b"BOTH\0\x01no")]
    assert replies.take() == []
    assert not replies.ready


def test_spec_replies_leave_in_the_order_of_the_requests():
    replies = Replies()
    replies.send(3, b"", b"\0", b"\0", b"three")
    replies.skip(1)
    assert replies.take() == []
    assert len(replies.ready) == 2
    replies.send(0, b"BOTH", b"\0", b"\0", b"")
    assert replies.take() == [spec(b"BOTH", b"\0", b"\0")]
    replies.send(2, b"", b"\0", b"\0", b"two")
    assert replies.take() == [spec(b"\0", b"\0", b"two"), spec(b"\0", b"\0", b"three")]
    assert not replies.ready


def test_a_refusal_has_its_code_and_a_text_that_is_cut():
    replies = Replies(Limits(message_bytes=80))
    replies.netty = True
    replies.refuse(1, b"BOTH", CallError(Code.NOT_FOUND, "x" * 100, started=False))
    (frame,) = replies.take()
    assert frame.endswith(b"\x01\0" + string("x" * 10))
    assert b"NOT_FOUND" in frame
    replies.pong(2, b"", {"k": b"v"})
    assert replies.take() == [netty(2, b"\x02" + string("k") + string("v") + b"\0\0")]
