import re

import pytest

from splnode.cli.phases import Phases


def test_silent_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    phases = Phases()
    phases.note("x")
    with phases.phase("dial"):
        pass
    assert capsys.readouterr() == ("", "")


def test_v_tells_what_and_vv_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    phases = Phases(1)
    phases.note("x")
    with phases.phase("dial"):
        pass
    assert capsys.readouterr() == ("", "* x\n")
    with Phases(2).phase("dial", "there"):
        pass
    assert re.fullmatch(r"\* dial +[\d.]+ ms  \(at [\d.]+ ms\)  there\n", capsys.readouterr().err)


def test_a_phase_that_fails_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), Phases(2).phase("dial", "there"):
        raise ValueError("no")
    assert ") failed  there" in capsys.readouterr().err
