"""Where a node of several processes listens.

Each process has sockets of its own at the TCP port of all (SO_REUSEPORT), and the kernel spreads the connections. The
port is the node's alone all the same: the first socket is bound and listens as any other, so that it fails where
anybody listens; only then is it opened to the others. (socket(7), SO_REUSEPORT: all of one user, and each must ask
for it.) A Unix socket is one, whoever accepts there.

Who holds these objects keeps every socket open, beside the process that uses it: connections that have come to a
process which was killed wait for the next one, instead of being refused. `give_back` ends that.
"""

import socket

from splnode.endpoint import Endpoint
from splnode.net.bind import Address, bind_tcp, bind_unix, file_identity, share_tcp, unlink_own


class SharedTcp:
    """A TCP endpoint. `endpoint` has the port that the system chose. Whoever made it closes it."""

    def __init__(self, endpoint: Endpoint, addresses: list[Address]) -> None:
        first = bind_tcp(endpoint, addresses)
        for sock in first:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.endpoint = endpoint.replace(port=first[0].getsockname()[1])
        self._addresses: list[Address] = [(sock.family, sock.getsockname()) for sock in first]
        self._taken: list[list[socket.socket]] = []
        self._spare: list[list[socket.socket]] = [first]

    def take(self) -> list[socket.socket]:
        """Listening sockets for one process, one for each address of the host. ConfigError if there are no more."""
        taken = self._spare.pop() if self._spare else share_tcp(self.endpoint, self._addresses)
        self._taken.append(taken)
        return taken

    def give_back(self, sockets: list[socket.socket]) -> None:
        """Nobody accepts on these for a while: the others get its connections. The last ones stay, to hold the port."""
        self._taken.remove(sockets)
        if not self._taken:
            self._spare.append(sockets)
            return
        for sock in sockets:
            sock.close()

    def close(self) -> None:
        """Closes this process's end of all."""
        for sockets in (*self._taken, *self._spare):
            for sock in sockets:
                sock.close()
        self._taken, self._spare = [], []


class SharedUnix:
    """A Unix socket, for one who accepts. Whoever made it closes it, which removes the file."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.socket = bind_unix(endpoint)
        self._file: tuple[int, int] | None = file_identity(endpoint.path)

    def take(self) -> list[socket.socket]:
        """A process has none of its own."""
        return []

    def give_back(self, sockets: list[socket.socket]) -> None:
        """There is nothing to give."""

    def close(self) -> None:
        """Removes the file, unless it is another node's by now, and closes this process's end."""
        if self._file is not None:
            unlink_own(self.endpoint.path, self._file)
        self._file = None
        self.socket.close()


Shared = SharedTcp | SharedUnix
