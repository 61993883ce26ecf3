"""The process of a module: `python -m splnode.modules.worker FD MEMORY`, started by the node's pool.

It serves ModuleWorker on the inherited socket FD. One thread reads, so that pings are answered while the
module runs and the process ends with its node; the main thread runs the module, where its signal handlers,
its event loop and its debugger expect to be. There is no loop here and no task: a session is enough.
"""

import os
import queue
import resource
import signal
import socket
import sys
import threading
from typing import Any

from splnode.errors import DataError, RemoteWireError
from splnode.modules.protocol import ModuleFault, worker_protocol
from splnode.modules.runner import Runner
from splnode.wire.directory import ClientProtocols, Directory
from splnode.wire.events import Request
from splnode.wire.message import Contract
from splnode.wire.server import ServerSession


class Worker:
    """The session on the socket, used by both threads in turn."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        directory = Directory([Contract(worker_protocol())])
        self._session = ServerSession(directory, ClientProtocols(), framing="netty")
        self._runner = Runner()

    def serve(self) -> None:
        """Answers calls; does not return."""
        threading.Thread(target=self._read, name="splnode-worker-read", daemon=True).start()
        while True:
            request = self._requests.get()
            value: Any = None
            fault: ModuleFault | None = None
            try:
                value = getattr(self._runner, request.message.name)(**request.params)
            except ModuleFault as error:
                fault = error
            with self._lock:
                self._answer(request, value, fault)
                self._flush()

    def _answer(self, request: Request, value: Any, fault: ModuleFault | None) -> None:
        if fault is None:
            try:
                self._session.respond(request, value)
                return
            except DataError as error:
                text = f"what the module returned cannot be sent: {error}"
                fault = ModuleFault(code="INVALID_OUTPUT", message=text, traceback="")
        self._session.fail(request, fault)

    def _read(self) -> None:
        try:
            while data := self._sock.recv(1 << 18):
                with self._lock:
                    events = self._session.receive_data(data)
                    self._flush()
                for event in events:
                    if isinstance(event, Request):
                        self._requests.put(event)
        except (OSError, RemoteWireError) as error:
            print(f"splnode module worker: {error}", file=sys.stderr)  # noqa: T201 - the node logs what we print
        else:
            if (
                os.getpgrp() == os.getpid()
            ):  # the node may have been killed: who else would end what the module started?
                os.killpg(0, signal.SIGKILL)
        finally:
            os._exit(0)  # the node is gone, or done with us; the main thread may never come back

    def _flush(self) -> None:
        data = self._session.data_to_send()
        if data:
            try:
                self._sock.sendall(b"".join(data))
            except OSError:
                os._exit(0)  # as in _read, which may not have seen it yet


def main(descriptor: int, memory: int) -> None:
    """Sets the limits of this process, then serves. `memory` in bytes; 0 for no limit of its own."""
    sys.dont_write_bytecode = True  # the modules' directory is not ours to write to
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - no pathlib needed in this process
            file.write("500")  # where memory runs out, the kernel takes a module before the node
    except OSError:
        pass  # not Linux
    Worker(socket.socket(fileno=descriptor)).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
