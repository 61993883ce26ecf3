"""splnode.Metrics: what the node counts and measures of itself, told by the node itself."""

from collections.abc import Awaitable, Callable

from splnode.observe import metrics
from splnode.observe.metrics import Family


class MetricsService:
    """Implements splnode.Metrics. `families` is asked each time."""

    def __init__(self, families: Callable[[], Awaitable[list[Family]]]) -> None:
        self._families = families

    async def read(self) -> list[Family]:
        """All of them."""
        return await self._families()

    async def text(self) -> str:
        """The same for Prometheus."""
        return metrics.text(await self._families())
