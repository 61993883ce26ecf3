from pathlib import Path

import pytest

from splnode.cli.calling import Caller, tell
from splnode.cli.params import JsonForm
from splnode.cli.phases import Phases
from splnode.cli.target import Target
from splnode.endpoint import Endpoint
from splnode.wire.message import Contract
from tests.cli.echo import PROTOCOL, Missing, serving


def test_dials_again_when_the_connection_is_lost(tmp_path: Path) -> None:
    where = Target([Endpoint.parse(f"unix://{tmp_path}/s")], 5.0, 5.0, {})
    caller = Caller(where, Contract(PROTOCOL), PROTOCOL.messages["add"], JsonForm(), Phases())
    try:
        for _ in range(2):
            with serving([f"unix://{tmp_path}/s"]):
                assert caller.call({"a": 1}, {}) == 3
                assert caller.call({"a": 2}, {}) == 4
    finally:
        caller.close()


def test_a_declared_error_is_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Missing(what="it", near="AP8="))
    assert capsys.readouterr().err == 'splnode: test.Missing {"what": "it", "near": "AP8="}\n'
