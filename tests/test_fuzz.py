"""What fails, crashes or hangs is found, kept and can be done again; and each fuzzer runs for a moment."""

import os
import signal
import time
from pathlib import Path

import pytest

from splnode.avro.codec import engines
from tests import fuzz
from tests.require import require

HERE = "tests.test_fuzz"


def fails_at_7(seed: int) -> None:
    assert seed != 7, f"the input of {seed}"


def dies_at_7(seed: int) -> None:
    if seed == 7:
        os.kill(os.getpid(), signal.SIGSEGV)


def hangs_at_7(seed: int) -> None:
    while seed == 7:
        time.sleep(1)  # clock: it is killed


@pytest.mark.parametrize(
    ("name", "said"),
    [("fails_at_7", "AssertionError: the input of 7"), ("dies_at_7", "Segmentation fault"), ("hangs_at_7", "no end")],
)
def test_a_find_is_kept_with_its_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    if name == "hangs_at_7":
        monkeypatch.setattr(fuzz, "STARTING", 2.0)
        monkeypatch.setattr(fuzz, "ENDING", 0.0)
    assert not fuzz.run(f"{HERE}:{name}", 1.0, 4, tmp_path / "kept")
    kept = tmp_path / "kept" / f"{HERE}.{name}-7.txt"
    assert said in kept.read_text()
    assert f"Again: python -m tests.fuzz 0 --seed 7 --only {HERE}:{name}" in kept.read_text()
    assert f"seed 7 after 3 inputs: {'no end' if name == 'hangs_at_7' else 'status'}" in capsys.readouterr().out


@pytest.mark.parametrize("name", fuzz.FUZZERS)
def test_each_fuzzer_finds_nothing_in_a_moment(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name in ("codec", "calls"):
        require("native" in engines(), "native", "a C compiler, and then pip install -e .")
    assert fuzz.run(name, 0.2, 1, tmp_path), capsys.readouterr().out
    assert "inputs, seeds 1 to" in capsys.readouterr().out
