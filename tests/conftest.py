"""For all tests: the slow ones run only where they are asked for."""

import sys
from collections.abc import Iterator

import hypothesis
import pytest

from tests.require import required

hypothesis.settings.register_profile("splnode", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("splnode")


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """A command that a test ran has set up the log, to a stderr that ends with the test."""
    yield
    structlog = sys.modules.get("structlog")
    if structlog is not None and structlog.is_configured():
        structlog.reset_defaults()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow") or required("slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: runs with --slow"))
