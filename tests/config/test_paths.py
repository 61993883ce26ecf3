"""splnode.config.paths."""

from pathlib import Path

import pytest

from splnode import config
from splnode.config import Config
from splnode.endpoint import Endpoint


class TestDefaults:
    def test_socket_in_the_runtime_directory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert Config().node.endpoints[1] == Endpoint("unix", path=f"{tmp_path}/splnode.sock")
        assert config.default_socket().path == f"{tmp_path}/splnode.sock"

    @pytest.mark.parametrize("given", [None, "", "relative", "/does/not/exist"])
    def test_socket_below_home_where_there_is_no_runtime_directory(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str | None
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        if given is not None:
            monkeypatch.setenv("XDG_RUNTIME_DIR", given)
        monkeypatch.setattr("os.getuid", lambda: 987654)
        assert config.runtime_directory() == tmp_path / ".local/state/splnode"

    def test_socket_in_run_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setattr("os.getuid", lambda: 4711)
        monkeypatch.setattr("os.access", lambda path, mode: path == "/run/user/4711")
        assert config.runtime_directory() == Path("/run/user/4711")
