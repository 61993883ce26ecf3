"""Where bytes are received that are not large: in one buffer for all connections of a loop; an idle one has none."""

import threading
from typing import Final

WHOLE: Final = 262_144
"""Bytes: what asyncio and uvloop read at a time."""
LOOK: Final = 65_536
"""Bytes: several hundred small messages. Of a large one so much is looked at; the rest goes where it is to stay."""
GLANCE: Final = 16_384
"""Bytes: behind a large message there may be another, of which this is enough to find a place for the rest."""

_of_thread = threading.local()


def shared_buffer(size: int = WHOLE) -> memoryview:
    """The buffer of this thread's loop, `size` bytes of it. What is in it is to be taken before the loop goes on."""
    views: dict[int, memoryview] | None = getattr(_of_thread, "views", None)
    if views is None:
        views = _of_thread.views = {WHOLE: memoryview(bytearray(WHOLE))}
    view = views.get(size)
    if view is None:
        view = views[size] = views[WHOLE][:size]
    return view
