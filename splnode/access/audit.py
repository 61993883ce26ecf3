"""The audit log: who called what, from where, and what was said. One JSON object a line, in a file of its own.

```json
{"time":"2026-01-01T12:00:00.000Z","verdict":"denied","who":"loopback","how":"tcp","peer":"tcp://127.0.0.1:40000",
 "service":"SPLContainerService","message":"startContainer","rule":"policy.toml:12","call":"7f3a"}
```

No call waits for it: lines go to a thread, KEPT at most. What comes beyond them is lost: `"verdict":"lost"` says how
many were.
The same denial again within a second is counted, not written: `"again": 12` behind it says how often. It has no
parameters, no metadata and no tokens. The file is the node's user's alone. Whoever rotates it renames it, removes it or
cuts it short: the next line goes to a file at that path. `reopen` begins it at once.
"""

import contextlib
import ipaddress
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

KEPT: Final = 10_000
"""Lines that wait to be written: some 3 MB."""
SAME: Final = 1_000
"""Different denials that are counted at a time."""
AGAIN: Final = 1.0
"""Seconds within which the same denial is counted."""

log = structlog.get_logger("splnode.access")


class Audit:
    """The log at `path`, opened with its first line. Whoever made it closes it. `put` may be called from any thread.

    `lost` counts the lines that were not written.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._lines: deque[tuple[float, Mapping[str, Any]]] = deque()
        self._lost = 0  # and not told yet
        self.lost = 0
        self._seen: dict[tuple[Any, ...], tuple[float, int]] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._reopen = False
        self._closed = False
        self._failing = False

    def put(self, verdict: str, facts: Mapping[str, Any]) -> None:
        """Takes a line. `verdict` is `allowed`, `denied` or `unauthenticated`; `facts` go behind it as they are."""
        with self._wake:
            if self._closed or (verdict != "allowed" and self._is_again(verdict, facts)):
                return
            self._add({"verdict": verdict, **facts})

    def reopen(self, path: Path | None = None) -> None:
        """Writes to a new file from now on, since the present one was renamed, or is to be another."""
        with self._wake:
            self.path = path or self.path
            self._reopen = True
            self._wake.notify()

    def close(self, seconds: float = 2.0) -> None:
        """Writes what waits, for which a slow disk has so many seconds."""
        with self._wake:
            self._count_out(float("inf"))
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(seconds)

    def _add(self, line: Mapping[str, Any]) -> None:
        if len(self._lines) >= KEPT:
            self._lost += 1
            self.lost += 1
            return
        self._lines.append((self._clock(), line))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="splnode-audit", daemon=True)
            self._thread.start()
        self._wake.notify()

    def _is_again(self, verdict: str, facts: Mapping[str, Any]) -> bool:
        """Whether it is only counted: the same of the same peer, whatever its port."""
        peer = _origin(str(facts.get("peer", "")))
        key = (verdict, peer, *(str(facts.get(name)) for name in ("who", "service", "message", "rule")))
        now = self._clock()
        since, times = self._seen.get(key, (0.0, 0))
        if since and 0 <= now - since < AGAIN:
            self._seen[key] = (since, times + 1)
            return True
        self._count_out(now)
        if len(self._seen) >= SAME:
            self._count_out(float("inf"))
        self._seen[key] = (now, 0)
        return False

    def _count_out(self, now: float) -> None:
        """Writes how often denials came again that are over by now."""
        over = [key for key, (since, _) in self._seen.items() if not 0 <= now - since < AGAIN]
        for key in over:
            _, times = self._seen.pop(key)
            if times:
                verdict, peer, who, service, message, rule = key
                facts = {"who": who, "peer": peer, "service": service, "message": message, "rule": rule}
                self._add({"verdict": verdict, **facts, "again": times})

    # --- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        file: int | None = None
        while True:
            with self._wake:
                while not (self._lines or self._reopen or self._closed):
                    if not self._wake.wait(AGAIN if self._seen else None):
                        self._count_out(self._clock())
                if self._closed and not self._lines and not self._lost:
                    break
                lines = [self._lines.popleft() for _ in range(min(len(self._lines), 1000))]
                lost, self._lost = (self._lost, 0) if not self._lines else (0, self._lost)
                reopen, self._reopen = self._reopen, False
            if file is not None and (reopen or not _is_at(file, self.path)):
                os.close(file)
                file = None
            data = b"".join(_written(when, line) for when, line in lines)
            if lost:
                data += _written(self._clock(), {"verdict": "lost", "lines": lost})
            file = self._write(file, data, lost)
        if file is not None:
            os.close(file)

    def _write(self, file: int | None, data: bytes, lost: int) -> int | None:
        """Writes them, and says so in the log where that fails; the node goes on. The last one tells of `lost`."""
        torn = b""  # of the last line, what is written
        try:
            if file is None and data:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                file = os.open(self.path, flags, 0o600)
            while data and file is not None:
                taken = os.write(file, data)
                torn, data = (torn + data[:taken]).rpartition(b"\n")[2], data[taken:]
        except OSError as error:
            if not self._failing:
                log.error("audit lines are lost: the file cannot be written", path=str(self.path), reason=str(error))
            self._failing = True
            with self._wake:
                lines = data.count(b"\n") - bool(lost)
                self._lost += lines + lost
                self.lost += lines
                if self._closed:  # nothing more is tried
                    self._lines.clear()
                    self._lost = 0
            if file is not None:
                _mend(file, torn)
                with contextlib.suppress(OSError):
                    os.close(file)
            return None
        self._failing = False
        return file


def _origin(peer: str) -> str:
    """Whence it comes: without its port, and of an IPv6 address the network, whose addresses are all its owner's."""
    host = peer.rpartition(":")[0] or peer
    scheme, bracket, address = host.partition("[")
    if bracket:
        with contextlib.suppress(ValueError):
            network = ipaddress.IPv6Network((address.rstrip("]").partition("%")[0], 64), strict=False)
            return f"{scheme}[{network}]"
    return host


def _is_at(file: int, path: Path) -> bool:
    """Whether the file is still found there: somebody may have renamed or removed it, and told nobody."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def _mend(file: int, torn: bytes) -> None:
    """Takes half a line off the end again, so that the next one is whole; not where somebody has written behind it."""
    with contextlib.suppress(OSError):
        start = os.fstat(file).st_size - len(torn)
        if torn and os.pread(file, len(torn), start) == torn:
            os.ftruncate(file, start)


def _written(when: float, line: Mapping[str, Any]) -> bytes:
    time_ = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {"time": time_, **line}
    try:
        return msgspec.json.encode(told) + b"\n"
    except UnicodeEncodeError:  # the path of a policy may have bytes that are no text
        return json.dumps(told).encode() + b"\n"
