"""Python's collector of cycles, out of the way while many objects are made that hold none."""

import gc
from types import TracebackType


class CollectorPaused:
    """`with CollectorPaused():` nothing is looked for, which would take longer than to make 100,000 objects.

    In a node the collector also stops everybody else, since it holds the interpreter's lock to its end. Any thread may
    pause it, others at the same time too: then it may run again a little early.
    """

    __slots__ = ("_ran",)

    def __enter__(self) -> None:
        self._ran = gc.isenabled()
        gc.disable()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ran:
            gc.enable()
