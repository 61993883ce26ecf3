"""What fails, crashes or hangs is found, kept and can be done again; and every input of the corpus is tried."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from splnode.avro.codec import engines
from tests import fuzz
from tests.fuzzers import corpus
from tests.require import require

HERE = "tests.test_fuzz"


def fails_at_7(data: bytes) -> None:
    assert not data.startswith(b"7"), f"the input {data!r}"


def dies_at_7(data: bytes) -> None:
    if data.startswith(b"7"):
        os.kill(os.getpid(), signal.SIGSEGV)


def hangs_at_7(data: bytes) -> None:
    while data.startswith(b"7"):
        time.sleep(1)  # clock: it is killed


@pytest.mark.parametrize(
    ("name", "said"),
    [("fails_at_7", "AssertionError: the input b'7"), ("dies_at_7", "deadly signal"), ("hangs_at_7", "timeout after")],
)
def test_a_find_is_kept_and_can_be_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    require(importlib.util.find_spec("atheris") is not None, "atheris", "pip install atheris")
    keep = tmp_path / "fuzz"
    assert not fuzz.run(f"{HERE}:{name}", 10.0, keep, hanging=1)
    folder = keep / f"{HERE}.{name}"
    (told,) = folder.glob("*.txt")
    assert said in told.read_text()
    again = told.read_text().splitlines()[1].removeprefix("Again: scripts/fuzz --again ")
    assert (tmp_path / again).read_bytes().startswith(b"7")
    assert f"again: scripts/fuzz --again {again}" in capsys.readouterr().out


def test_again_is_for_a_target_that_its_folder_names(tmp_path: Path) -> None:
    require(importlib.util.find_spec("atheris") is not None, "atheris", "pip install atheris")
    path = tmp_path / "fuzz" / "greeting" / "crash-1"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\0")
    command = [sys.executable, "-m", "tests.fuzz", "--keep", str(tmp_path / "fuzz"), "--again", "fuzz/greeting/crash-1"]
    done = subprocess.run(command, cwd=fuzz.ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "nothing is wrong with it\n", done.stderr


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_nothing_is_wrong_with_the_corpus(name: str) -> None:
    if name in ("codec", "calls"):
        require("native" in engines(), "native", "a C compiler, and then pip install -e .")
    inputs = corpus.load(name)
    assert inputs, f"tests/corpus/{name}.txt is missing: scripts/fuzz --grow --only {name}"
    target = fuzz.named(name)
    for data in (b"", *inputs):
        target(data)


def test_a_corpus_has_the_small_ones_once(tmp_path: Path) -> None:
    inputs = [b"bb", b"a", b"", b"a", bytes(corpus.LARGEST + 1), *(b"%04d" % number for number in range(corpus.MOST))]
    assert corpus.save("x", inputs, tmp_path) == corpus.MOST
    assert corpus.load("x", tmp_path)[:2] == [b"a", b"bb"]
    assert corpus.load("nothing", tmp_path) == []
