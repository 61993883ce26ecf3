"""Replies on their way out: Netty's as they come, those of spec framing in the order of the requests."""

from splnode.wire.framing import netty_frame, spec_frame


class Replies:
    """`out` is what is to be written. Where there are no serials a reply waits in `ready` for all before it."""

    __slots__ = ("_due", "netty", "out", "ready")

    def __init__(self) -> None:
        self.netty = False
        self.out: list[bytes] = []
        self.ready: dict[int, bytes] = {}
        self._due = 0  # the serial that is to be answered next

    def send(self, serial: int, prefix: bytes, metadata: bytes, flag: bytes, body: bytes) -> None:
        """Queues the reply to the request `serial`; `prefix` is its handshake, or empty."""
        if self.netty:
            self.out.append(netty_frame(serial, prefix, metadata, flag, body))
        else:
            self._in_order(serial, spec_frame(prefix, metadata, flag, body))

    def skip(self, serial: int) -> None:
        """The request `serial` gets no reply: those behind it do not wait for one."""
        if not self.netty:
            self._in_order(serial, b"")

    def take(self) -> list[bytes]:
        """What is to be written now; each byte is given once."""
        out = self.out
        if out:
            self.out = []
        return out

    def _in_order(self, serial: int, frame: bytes) -> None:
        if serial != self._due:
            self.ready[serial] = frame
            return
        waiting: bytes | None = frame
        while waiting is not None:
            if waiting:
                self.out.append(waiting)
            self._due += 1
            waiting = self.ready.pop(self._due, None)
