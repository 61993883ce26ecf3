import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from splnode.modules.catalogue import Modules

Put = Callable[[str, str], Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "modules"
    path.mkdir()
    return path


@pytest.fixture
def put(root: Path) -> Put:
    """Writes a file of a module directory: `put("a/b/c.py", text)`."""

    def write(name: str, text: str) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
async def modules(root: Path) -> AsyncIterator[Modules]:
    modules = Modules(root, workers=4, timeout=20)
    yield modules
    await modules.close()
