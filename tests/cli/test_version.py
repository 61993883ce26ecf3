import platform
import re

import pytest

import splnode
from tests.cli.conftest import Shell


def test_text_and_json(shell: Shell) -> None:
    assert re.match(
        rf"splnode {re.escape(splnode.__version__)} \(codec: (native|plain)\)\nPython 3", shell("version").out
    )
    [found] = shell("version", "--json").results
    assert found["splnode"] == splnode.__version__
    assert found["python"] == platform.python_version()
    assert found["avro"].startswith("1.12")


def test_what_is_not_installed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splnode.cli.version.PACKAGES", ("no-such-package",))
    assert shell("version", "--json").results[0]["no-such-package"] is None
    assert "no-such-package" not in shell("version").out
