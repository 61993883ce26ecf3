"""A socket that listens: who comes is accepted a few at a time, and waits in the kernel while there is no room.

A loop's own servers accept all who are there before anybody else has a turn. Where file descriptors are used up, uvloop
accepts and closes them: they are told that they were let in, and then that the node has gone.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

import structlog

TURN: Final = 32
"""Connections that are accepted before the others of the loop have their turn: a few milliseconds."""
REST: Final = 0.2
"""Seconds until it is tried again where nothing can be accepted."""

log = structlog.get_logger("splnode.net")


class Accepting:
    """Accepts on `listening` and gives each connection to `taken`, with the address it comes from.

    While `has_room` says no, nothing is accepted, and `waits` is told if somebody is there: the kernel keeps who comes,
    as many as `listen` was told. So it is where the system gives no more descriptors. It belongs to one loop; `close`
    closes the socket too.
    """

    def __init__(
        self,
        listening: socket.socket,
        has_room: Callable[[], bool],
        taken: Callable[[socket.socket, Any], object],
        waits: Callable[[], object] = lambda: None,
    ) -> None:
        self._listening = listening
        self._has_room = has_room
        self._taken = taken
        self._waits = waits
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._open()

    def close(self) -> None:
        """Accepts nobody any more. May be repeated."""
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening)
        self._listening.close()
        if self._timer is not None:
            self._timer.cancel()

    def _open(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listening, self._ready)

    def _ready(self) -> None:
        for place in range(TURN):
            if not self._has_room():
                if not place:  # somebody is there, else the loop had not called
                    self._waits()
                    self._rest()
                return
            try:
                sock, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if self._listening.fileno() < 0:  # whoever came in had all of it closed
                    return
                log.warning("nothing is accepted for a moment", reason=error.strerror, again_in=REST)
                self._rest()
                return
            sock.setblocking(False)
            self._taken(sock, address)

    def _rest(self) -> None:
        self._loop.remove_reader(self._listening)
        self._timer = self._loop.call_later(REST, self._open)


class Entrance:
    """Has everybody who comes to `listening` served by what `connection` makes, an asyncio protocol, while there is
    `room`: it is asked with the number of those who were accepted and are not served yet. `waits` is told where not.

    It belongs to one loop; `close` closes the socket, and not the connections.
    """

    def __init__(
        self,
        listening: socket.socket,
        room: Callable[[int], bool],
        connection: Callable[[], asyncio.BaseProtocol],
        waits: Callable[[], object] = lambda: None,
    ) -> None:
        self._connection = connection
        self._entering: set[asyncio.Task[None]] = set()
        self._accepting = Accepting(listening, lambda: room(len(self._entering)), self._taken, waits)

    def close(self) -> None:
        """Lets nobody in any more; who was accepted a moment ago is served."""
        self._accepting.close()

    def _taken(self, sock: socket.socket, _address: object) -> None:
        entering = asyncio.get_running_loop().create_task(self._serve(sock))
        self._entering.add(entering)
        entering.add_done_callback(self._entering.discard)

    async def _serve(self, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._connection, sock)
        except OSError as error:  # it has gone again
            sock.close()
            log.info("connection lost at once", reason=error.strerror)
        except BaseException:
            sock.close()
            raise
