"""The corpora: for each target one text file, `tests/corpus/TARGET.txt`, an input a line in base64.

Files of lines can be read in a diff, and hundreds of inputs are not hundreds of files. What they hold was found by
coverage and made small: `scripts/fuzz --grow`.
"""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "corpus"
LARGEST: Final = 2048
"""Bytes of an input that is kept: larger ones find little that small ones do not."""
MOST: Final = 250
"""Inputs that are kept for a target."""


def load(name: str, folder: Path = FOLDER) -> list[bytes]:
    """The inputs of a target; none where it has no file yet."""
    path = folder / f"{name}.txt"
    return [base64.b64decode(line, validate=True) for line in path.read_text().split()] if path.exists() else []


def save(name: str, inputs: Iterable[bytes], folder: Path = FOLDER) -> int:
    """Keeps the smallest of the inputs, each once. How many."""
    kept = sorted({data for data in inputs if len(data) <= LARGEST}, key=lambda data: (len(data), data))[:MOST]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text("".join(f"{base64.b64encode(data).decode()}\n" for data in kept if data))
    return len(kept)
