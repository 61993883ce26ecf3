"""splnode.net.tls_watch: the TLS of a node, and its end told in time."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from splnode.config import TlsConfig
from splnode.errors import ConfigError
from splnode.net import tls_watch
from splnode.net.tls_watch import open_tls, watch_expiry
from tests.net.certificates import Mesh, mesh_key


def test_nothing_set_is_nothing() -> None:
    assert open_tls(TlsConfig(), "kitchen") is None
    assert open_tls(TlsConfig(mutual="on", plain="both"), "kitchen") is None


def test_what_is_set_is_used(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path)
    made = open_tls(TlsConfig(certificate=str(mesh.certificate("kitchen")), plain="both"), "")
    assert made is not None and (made.node, made.plain) == ("kitchen", "both")
    with pytest.raises(ConfigError, match="is of the node kitchen, and this one is attic"):
        open_tls(TlsConfig(certificate=str(mesh.certificate("kitchen"))), "attic")
    keyed = open_tls(TlsConfig(mesh_key=mesh_key(tmp_path)), "attic")
    assert keyed is not None and keyed.node == "attic"


async def test_the_end_is_told_at_once_and_each_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_watch, "EVERY", 0.0)
    mesh = Mesh(tmp_path)
    mesh.certificate("kitchen", days=10)
    with capture_logs() as logs:
        watching = asyncio.create_task(watch_expiry(mesh.tls("kitchen")))
        while len(logs) < 2:
            await asyncio.sleep(0)
        watching.cancel()
    assert "expires in 9 days" in logs[0]["event"] and logs[0]["log_level"] == "warning"
    assert logs[0]["file"].endswith("kitchen.pem")
